"""Core. initrd overlays: what rack.yml adds to an OS' initrd, and where it belongs in there."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rackctl.core.cpio import Entry, clean_name

FIRMWARE = ("lib/firmware/", "usr/lib/firmware/")


def _inside(text: str) -> str:
    return clean_name(text)


class InitrdOverlay(BaseModel):
    """One of `initrd_overlays:`.

    file or folder: relative to rack.yml. package: a Debian package, whose firmware counts.
    to: where it goes in the initrd; a folder's content goes to the root unless this says otherwise. mode: octal, of a
    file. os: the only systems that it is for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = ""
    folder: str = ""
    package: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.+-]+)?$")] = ""
    suite: Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")] = "trixie"
    to: Annotated[str, AfterValidator(_inside)] | None = None
    mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "0644"
    os: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(map(bool, (self.file, self.folder, self.package))) != 1:
            raise ValueError("an overlay is one of file, folder and package")
        if self.file and not self.to:
            raise ValueError("a file needs `to`, its path in the initrd")
        return self


def find_links(initrd: Mapping[str, Entry], made_by_init: Mapping[str, str]) -> dict[str, str]:
    """Folder name -> where it leads: the initrd's own symbolic links, and those that its init makes at start."""
    links = dict(made_by_init)
    for name, one in initrd.items():
        if one.is_link:
            target = one.data.decode(errors="replace")
            base = [] if target.startswith("/") else name.split("/")[:-1]
            for part in target.split("/"):
                base = base[:-1] if part == ".." else [*base, part] if part not in ("", ".") else base
            links[name] = "/".join(base)
    return {name: target for name, target in links.items() if target and target != name}


def place(name: str, links: Mapping[str, str]) -> str:
    """The path with links on its way followed. A real folder of a link's name would take the link's place at boot, and
    hide everything behind it: a `lib/` hides RancherOS' modules."""
    for _ in range(16):
        parts = name.split("/")
        cut = next((n for n in range(1, len(parts)) if "/".join(parts[:n]) in links), 0)
        if not cut:
            return name
        name = "/".join([links["/".join(parts[:cut])], *parts[cut:]])
    raise ValueError(f"{name!r} goes through links that lead in a circle")


def place_entries(entries: Iterable[Entry], links: Mapping[str, str]) -> list[Entry]:
    """Every entry where it belongs; a folder that is a link in the initrd is left out, since it is there already."""
    placed = [
        replace(one, name=place(clean_name(one.name), links)) for one in entries if clean_name(one.name) not in links
    ]
    return [one for one in placed if not (one.is_folder and one.name in links)]


def choose_firmware(entries: Iterable[Entry]) -> list[Entry]:
    """The firmware files of a package, below lib/firmware."""
    found = []
    for one in entries:
        name = re.sub(r"^(\./)?(usr/)?lib/firmware/", "lib/firmware/", one.name)
        if name.startswith("lib/firmware/") and not stat.S_ISDIR(one.mode):
            found.append(replace(one, name=name, uid=0, gid=0, mtime=0))
    return found
