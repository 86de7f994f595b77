"""Gathers what stands beside rack.yml: config sources, secrets, SSH keys of files and of GitHub users."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rackctl.adapters.fetch.githubkeys import fetch_keys
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.secrets import Secrets
from rackctl.core.config.sources import Inputs
from rackctl.core.lock import RackLock
from rackctl.core.model import Rack
from rackctl.errors import ConfigError

_MOST = 1024 * 1024  # bytes of one source


class _SecretFiles(Mapping[str, str]):
    """secrets/NAME, read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = Secrets(folder, None)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and "/" not in name and (self.folder / "secrets" / name).is_file()

    def __getitem__(self, name: str) -> str:
        return self.secrets.find(f"secrets/{name}", "")

    def __iter__(self) -> Iterator[str]:
        folder = self.folder / "secrets"
        return iter(sorted(file.name for file in folder.iterdir() if file.is_file()) if folder.is_dir() else [])

    def __len__(self) -> int:
        return len(list(iter(self)))


def read_inputs(folder: RackFolder, rack: Rack, lock: RackLock) -> Inputs:
    """What rack.yml names, as far as it is there: rendering names what is missing. Raises ConfigError."""
    names = [
        *rack.config,
        *(item for group in rack.groups.values() for item in group.config),
        *(item for node in rack.nodes.values() for item in node.config),
    ]
    texts = {name: text for name in names if isinstance(name, str) and (text := _read(folder.path, name)) is not None}
    keys = {user: lines for user, lines in lock.ssh_keys.items()}
    for key in rack.ssh_authorized_keys:
        if key.endswith(".pub") and (text := _read(folder.path, str(Path(key).expanduser()))) is not None:
            keys[key] = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return Inputs(texts, _SecretFiles(folder.path), keys, _read(folder.path, "rack.yml") or "")


def _read(folder: Path, name: str) -> str | None:
    file = folder / name
    try:
        if file.stat().st_size > _MOST:
            raise ConfigError("is larger than 1 MiB", str(file), "a config source is a small text")
        return file.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"cannot be read: {wrong}", str(file), "save it as UTF-8 text, readable by you") from wrong


def pin_keys(
    rack: Rack,
    lock: RackLock,
    report: Callable[[str], None],
    fetch: Callable[[str], tuple[str, ...]] = fetch_keys,
    *,
    update: bool = False,
) -> RackLock:
    """The lock with the keys of every `github:USER` of rack.yml; those that it has are not asked for again.

    Raises FetchError.
    """
    wanted = [key for key in rack.ssh_authorized_keys if key.startswith("github:")]
    keys: dict[str, tuple[str, ...]] = {}
    for name in wanted:
        if name in lock.ssh_keys and not update:
            keys[name] = lock.ssh_keys[name]
            continue
        keys[name] = fetch(name.removeprefix("github:"))
        report(f"{name}: {len(keys[name])} SSH keys, pinned in rack.lock")
    return lock.model_copy(update={"ssh_keys": keys})
