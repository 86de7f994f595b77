"""Core. apkovl: the tar archive that Alpine unpacks over / before its init runs."""

from __future__ import annotations

import base64
import gzip
import io
import shlex
import tarfile

from rackctl.core.config.report import BACKGROUND
from rackctl.core.config.resolve import FileSpec, Machine

_INTERFACES = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n"
_SERVICES = ("sshd", "local")


def render_apkovl(machine: Machine) -> bytes:
    """A gzip tar, the same bytes for the same machine (no time, owner root)."""
    name = machine.hostname or "localhost"
    files = [
        FileSpec("/etc/hostname", name + "\n"),
        FileSpec("/etc/hosts", f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n"),
        FileSpec("/etc/network/interfaces", _INTERFACES),
        FileSpec("/etc/apk/world", "alpine-base\nopenssh\n"),
        # mkinitfs' init adds the usual boot services only where an overlay asks for them so.
        FileSpec("/etc/.default_boot_services", ""),
    ]
    if machine.keys:
        files.append(FileSpec("/root/.ssh/authorized_keys", "".join(key + "\n" for key in machine.keys), "0600"))
    files += machine.files()
    start = [command if isinstance(command, str) else shlex.join(map(str, command)) for command in machine.commands()]
    start += [machine.join.command] if machine.join.command else []
    files.append(FileSpec("/etc/local.d/rackctl.start", "\n".join(["#!/bin/sh", BACKGROUND, *start, ""]), "0755"))
    return _pack({file.path.lstrip("/"): file for file in files})


def _pack(files: dict[str, FileSpec]) -> bytes:
    out = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, file in sorted(files.items()):
            _add_folders(archive, path, folders)
            content = _decode(file)
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), int(file.permissions, 8)
            archive.addfile(entry, io.BytesIO(content))
        for service in _SERVICES:
            path = f"etc/runlevels/default/{service}"
            _add_folders(archive, path, folders)
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, f"/etc/init.d/{service}"
            archive.addfile(link)
    return gzip.compress(out.getvalue(), mtime=0)


def _add_folders(archive: tarfile.TarFile, path: str, made: set[str]) -> None:
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if folder not in made:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700 if folder.endswith(".ssh") else 0o755
            archive.addfile(entry)
            made.add(folder)


def _decode(file: FileSpec) -> bytes:
    content = file.content.encode()
    if "64" in file.encoding:
        content = base64.b64decode("".join(file.content.split()))
    return gzip.decompress(content) if file.encoding.startswith("gz") else content
