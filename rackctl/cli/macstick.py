"""CLI. mac stick: an image to write to a USB stick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import RackOption
from rackctl.cli.mac import mac
from rackctl.cli.out import say


@mac.command()
def stick(
    image: Annotated[Path, typer.Argument(help="File to write, like stick.img; never a device.")],
    rack: RackOption = Path(),
) -> None:
    """Make the image of a USB stick that starts iPXE on Macs with 32-bit and 64-bit EFI, and on PCs with UEFI.

    Example: rackctl mac stick stick.img
    """
    import shlex

    from rackctl.adapters.folder import RackFolder
    from rackctl.errors import ConfigError
    from rackctl.macbuild import build_stick

    if image.exists() and not image.is_file():
        raise ConfigError("not a file", str(image), "name an image file, then: sudo dd if=stick.img of=/dev/... bs=4M")
    if not image.absolute().parent.is_dir():
        raise ConfigError("there is no such folder", str(image.absolute().parent), "make it first")
    files = build_stick(RackFolder(rack), image, say)
    say(f"wrote {image}: {image.stat().st_size // 2**20} MiB, GPT with one FAT32 partition")
    for path, raw in sorted(files.items()):
        say(f"  {len(raw):>8}  {path}")
    if not any("BOOTIA32" in path for path in files):
        say("no 32-bit binary: it needs iPXE's source, and Debian has none (rackctl build-ipxe says where to put it)")
    say(f"write it to a stick, all of which is lost: sudo dd if={shlex.quote(str(image))} of=/dev/sdX bs=4M conv=fsync")
