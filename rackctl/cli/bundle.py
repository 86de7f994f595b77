"""CLI. bundle: a rack's needs as one file, for a master without the internet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say

bundle = typer.Typer(no_args_is_help=True, help="Carry everything a rack needs to a master without the internet.")
app.add_typer(bundle, name="bundle")


@bundle.command()
def create(
    out: Annotated[Path, typer.Argument(help="The archive to write.")],
    rack: RackOption = Path(),
) -> None:
    """Pack the OS artifacts, iPXE binaries, container images and lock of this rack as it stands.

    Example: rackctl bundle create rack.bundle
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.bundle import create_bundle
    from rackctl.cli.progress import live_progress

    with live_progress() as (report, progress):
        made = create_bundle(RackFolder(rack), out, report, progress)
    say(f"wrote {made.file}: {made.size / 2**20:.1f} MiB, {made.files} files, images {', '.join(made.images)}")
    say(f"on the other master: rackctl bundle load {out.name}, beside a copy of this rack's folder, then rackctl up")


@bundle.command()
def load(
    file: Annotated[Path, typer.Argument(help="What `rackctl bundle create` wrote.")],
    rack: RackOption = Path(),
) -> None:
    """Check a bundle and put its files where `rackctl up` looks for them.

    Example: rackctl bundle load rack.bundle
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.bundle import load_bundle

    found = load_bundle(file, RackFolder(rack), say)
    say(f"loaded {found.files} files and the images {', '.join(found.images)}; next: rackctl up")
