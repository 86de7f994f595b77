"""Everything that somebody needs to see why a rack misbehaves, in one archive, without its secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rackctl import __version__
from rackctl.adapters import engine
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.proc import run
from rackctl.core.mask import mask_text
from rackctl.errors import RackError
from rackctl.report import take_status, take_timelines
from rackctl.selftest import ask_services

LOG_BYTES = 4 * 2**20  # the end of each log
FILE_BYTES = 2**20
_BINARY = (".efi", ".kpxe", ".pxe", ".lkrn", ".0", ".iso", ".xz", ".gz", ".img")


def collect(folder: RackFolder) -> dict[str, bytes]:
    """Name in the archive -> content, masked. A part that cannot be had says why instead."""
    secrets = list(_secrets(folder.path))

    def text(make: Callable[[], str]) -> bytes:
        try:
            found = make()
        except (RackError, OSError) as wrong:
            found = f"not available: {wrong}\n"
        return mask_text(found, secrets).encode()

    files = {"versions.txt": text(_versions)}
    for name in ("rack.yml", "rack.lock"):
        if (folder.path / name).is_file():
            files[name] = text(partial((folder.path / name).read_text, errors="replace"))
    files["status.json"] = text(lambda: json.dumps(take_status(folder), indent=1))
    files["timelines.json"] = text(lambda: json.dumps([one.to_json() for one in take_timelines(folder)], indent=1))
    files["self-test.txt"] = text(lambda: "\n".join(_self_test(folder)) + "\n")
    for row in _services(folder):
        who = f"docker/{row.service}"
        files[f"{who}.inspect.json"] = text(partial(_docker, "inspect", row.id))
        files[f"{who}.log"] = text(partial(_docker, "logs", "--tail", "500", row.id))
    files |= {f"tree/{name}": text(make) for name, make in _tree(folder.served / "current")}
    for kind, most, found in (
        ("logs", LOG_BYTES, folder.logs.glob("*.jsonl*")),
        ("inventory", FILE_BYTES, folder.inventory.glob("*.json")),
        ("reports", FILE_BYTES, folder.work.glob("report-*.txt")),
    ):
        for file in sorted(found):
            if file.is_file() and not file.is_symlink():
                files[f"{kind}/{file.name}"] = text(partial(_tail, file, most))
    return files


def write_archive(files: dict[str, bytes], file: Path) -> None:
    """A .tar.gz that only its owner can read."""
    file.touch(mode=0o600, exist_ok=False)
    stem = file.name.removesuffix(".tar.gz")
    with tarfile.open(file, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))


def _secrets(folder: Path) -> Iterator[str]:
    """The values in secrets/ and those of the environment that rack.yml names."""
    for file in sorted((folder / "secrets").rglob("*")):
        if file.is_file() and file.stat().st_size <= FILE_BYTES:
            yield file.read_text(errors="replace")
    rack = folder / "rack.yml"
    for name in re.findall(r"env:([A-Za-z_]\w*)", rack.read_text(errors="replace") if rack.is_file() else ""):
        yield os.environ.get(name, "")


def _versions() -> str:
    lines = [f"rackctl {__version__}", f"Python {platform.python_version()}", platform.platform()]
    for argv in (["docker", "version"], ["docker", "compose", "version"], ["docker", "buildx", "version"]):
        try:
            lines.append(run(argv, timeout=20).decode(errors="replace").rstrip())
        except RackError as wrong:
            lines.append(f"{' '.join(argv)}: {wrong}")
    return "\n".join(lines) + "\n"


def _services(folder: RackFolder) -> list[engine.Service]:
    try:
        return engine.list_services(folder.project)
    except RackError:
        return []


def _docker(*words: str) -> str:
    return run(["docker", *words], timeout=30).decode(errors="replace")


def _self_test(folder: RackFolder) -> Iterator[str]:
    server = folder.read_rack().server
    return ask_services(server.address, server.http_port, folder.served / "current" / "tftp")


def _tree(tree: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    for file in sorted(tree.rglob("*")):
        name = str(file.relative_to(tree))
        if not file.is_file() or name.startswith("status/code/"):
            continue
        if file.stat().st_size > FILE_BYTES or name.endswith(_BINARY) or name.startswith("http/os/"):
            yield f"{name}.size", partial("{} bytes\n".format, file.stat().st_size)
        else:
            yield name, partial(file.read_text, errors="replace")


def _tail(file: Path, most: int) -> str:
    with open(file, "rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - most))
        return handle.read().decode(errors="replace")
