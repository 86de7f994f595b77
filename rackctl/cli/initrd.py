"""CLI. initrd: what is in one, how two differ, and an archive to load after it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import app
from rackctl.cli.out import say

if TYPE_CHECKING:
    from rackctl.core.cpio import Segment

initrd = typer.Typer(no_args_is_help=True, help="Look into initrds, and add files to them without unpacking.")
app.add_typer(initrd, name="initrd")


@initrd.command()
def ls(
    file: Annotated[Path, typer.Argument(help="An initrd; gzip, xz, lzma, zstd, lz4, bzip2, several in a row.")],
) -> None:
    """Every archive in the file, and every entry of each.

    Example: rackctl initrd ls initrd
    """
    from rackctl.core.initrd import list_segments

    for line in list_segments(_read(file)):
        say(line)


@initrd.command()
def diff(
    old: Annotated[Path, typer.Argument(help="An initrd.")], new: Annotated[Path, typer.Argument(help="Another.")]
) -> None:
    """What the second has, lacks or has otherwise; exit code 1 when they differ.

    Example: rackctl initrd diff initrd-v1.5.7 initrd-v1.5.8
    """
    from rackctl.core import initrd as lines
    from rackctl.core.cpio import flatten

    found = list(lines.diff(flatten(_read(old)), flatten(_read(new))))
    for line in found:
        say(line)
    if found:
        raise typer.Exit(1)


@initrd.command()
def overlay(
    out: Annotated[Path, typer.Argument(help="Where to write the archive.")],
    base: Annotated[Path, typer.Option(help="The initrd that it is for; its links are followed.")],
    file: Annotated[list[str] | None, typer.Option(help="SOURCE:PATH in the initrd; may be repeated.")] = None,
    folder: Annotated[list[Path] | None, typer.Option(help="A folder whose content goes to the root.")] = None,
    package: Annotated[list[str] | None, typer.Option(help="A Debian package; its firmware is taken.")] = None,
    link: Annotated[list[str] | None, typer.Option(help="NAME:TARGET, a link that its init makes.")] = None,
) -> None:
    """Pack files, folders and firmware packages as one archive to load after an initrd.

    Example: rackctl initrd overlay extra.cpio.gz --base initrd --package firmware-bnx2 --link lib:usr/lib
    """
    from rackctl import overlays
    from rackctl.core.overlay import InitrdOverlay
    from rackctl.errors import ConfigError

    wanted = [InitrdOverlay(folder=str(one)) for one in folder or []]
    wanted += [InitrdOverlay(package=one) for one in package or []]
    for one in file or []:
        source, colon, to = one.rpartition(":")
        if not colon:
            raise ConfigError(f"{one!r} names no path in the initrd", "--file", "SOURCE:PATH, as motd:etc/motd")
        wanted.append(InitrdOverlay(file=source, to=to))
    links = {}
    for one in link or []:
        name, colon, target = one.partition(":")
        if not (name and colon and target):
            raise ConfigError(f"{one!r} is no link", "--link", "NAME:TARGET, as lib:usr/lib")
        links[name] = target
    packages = {f"{w.suite}/{w.package}": overlays.bring_package(w, say) for w in wanted if w.package}
    entries = overlays.gather(Path(), wanted, packages)
    packed = overlays.pack_for(entries, _bytes(base), links, str(base))
    out.write_bytes(packed)
    say(f"wrote {out}: {len(entries)} entries, {len(packed)} bytes")


def _read(file: Path) -> list[Segment]:
    from rackctl.core.cpio import read_initrd
    from rackctl.errors import ConfigError

    try:
        return read_initrd(_bytes(file))
    except ValueError as wrong:
        raise ConfigError(str(wrong), str(file), "is it an initrd, and whole?") from wrong


def _bytes(file: Path) -> bytes:
    from rackctl.errors import ConfigError

    try:
        return file.read_bytes()
    except OSError as wrong:
        raise ConfigError(f"cannot be read: {wrong.strerror}", str(file), "name an initrd file") from wrong
