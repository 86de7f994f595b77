"""CLI. support-bundle: one archive for those who help, without secrets."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say


@app.command("support-bundle")
def support_bundle(
    output: Annotated[Path | None, typer.Option(help="File to write (default: rackctl-support-TIME.tar.gz).")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    rack: RackOption = Path(),
) -> None:
    """Versions, rack.yml and tree with secrets masked, logs, timelines, containers and a self-test, in one archive.

    Example: rackctl support-bundle --yes
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.errors import ConfigError
    from rackctl.support import collect, write_archive

    file = output or Path(time.strftime("rackctl-support-%Y%m%d-%H%M%S.tar.gz"))
    if os.path.lexists(file):  # a link that leads nowhere too
        raise ConfigError("the file is there already", where=str(file), remedy="name another with --output")
    if not file.parent.is_dir():
        raise ConfigError(
            "there is no such folder", where=str(file.parent), remedy="make it, or name another with --output"
        )
    files = collect(RackFolder(rack))
    for name, content in sorted(files.items()):
        say(f"  {len(content):>9}  {name}")
    say(f"{len(files)} files, {sum(map(len, files.values()))} bytes; secrets are masked, addresses and MACs are not")
    if not yes and not typer.confirm(f"Write {file}?", default=True):
        say("nothing was written")
        return
    write_archive(files, file)
    say(f"wrote {file}")
