"""Core. rack.lock: what the network answered once (exact version, URLs, sizes, sums), which from then on is input."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from rackctl.errors import ConfigError

_HEAD = """\
# Written by rackctl; keep it in version control beside rack.yml. `up` uses exactly these files,
# `rackctl fetch --update` asks upstream again.
"""
_REMEDY = "take it from version control, or remove it: the next `rackctl up` asks upstream and writes it anew"


VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,60}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LockedArchive(_Strict):
    """What the file was taken out of: the archive that the URL names, and the file's path in it."""

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    member: Annotated[str, Field(min_length=1)]


class LockedFile(_Strict):
    """One artifact; size in bytes; trust as it was when the file first came."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    trust: Annotated[str, Field(min_length=1)]
    archive: LockedArchive | None = None


class LockedRelease(_Strict):
    """wanted: the version as rack.yml words it. version: the one it meant."""

    os: _Name
    wanted: Annotated[str, Field(pattern=f"^{VERSION.pattern}$")]
    version: Annotated[str, Field(pattern=f"^{VERSION.pattern}$")]
    artifacts: dict[_Name, LockedFile]
    arch: Literal["amd64", "arm64"] = "amd64"


_AFTER = {"packages", "ssh_keys"}


class RackLock(_Strict):
    """Every fetched OS release of a rack, `suite/name` -> Debian package of its overlays, and keys of `github:USER`."""

    lock: Literal[1] = 1
    releases: tuple[LockedRelease, ...] = ()
    packages: dict[str, LockedFile] = {}
    ssh_keys: dict[str, tuple[str, ...]] = {}

    def find(self, os: str, wanted: str, arch: str = "amd64") -> LockedRelease | None:
        """The release that this wish meant when it was first asked."""
        return next((one for one in self.releases if (one.os, one.wanted, one.arch) == (os, wanted, arch)), None)

    def replaced(self, fresh: Iterable[LockedRelease]) -> RackLock:
        """With these in place of those of the same wish."""
        new = {(one.os, one.wanted, one.arch): one for one in (*self.releases, *fresh)}
        return self.model_copy(update={"releases": tuple(new[key] for key in sorted(new))})


def parse_lock(text: str, name: str = "rack.lock") -> RackLock:
    """Raises ConfigError."""
    try:
        found = YAML(typ="safe", pure=True).load(text)
        # What is written after the releases shows that the file was not cut within them.
        if not isinstance(found, dict) or not {"lock", "releases"} <= set(found) or not _AFTER & set(found):
            raise ConfigError(
                f"it is empty or cut: no releases with {' or '.join(sorted(_AFTER))} after them", name, _REMEDY
            )
        return RackLock.model_validate(found)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{place}: {first['msg']}", name, _REMEDY) from wrong
    except (YAMLError, ValueError, RecursionError) as wrong:
        raise ConfigError(f"YAML: {wrong}", name, _REMEDY) from wrong


def render_lock(lock: RackLock) -> str:
    """The same lock gives the same text."""
    yaml = YAML()
    yaml.width = 4096
    out = io.StringIO()
    content = lock.model_dump(mode="json", exclude_none=True)
    if not lock.ssh_keys:
        del content["ssh_keys"]
    for one in content["releases"]:
        if one["arch"] == "amd64":
            del one["arch"]
    yaml.dump(content, out)
    return _HEAD + out.getvalue()
