"""CLI. build-ipxe, fetch, up, down, status: what the master serves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say


@app.command("build-ipxe")
def build_ipxe(rack: RackOption = Path()) -> None:
    """Build the iPXE binaries with this rack's boot script in them.

    Example: rackctl build-ipxe
    """
    from rackctl import apply
    from rackctl.adapters.folder import RackFolder

    build = apply.build_loaders(RackFolder(rack).read_rack(), say)
    say(f"iPXE: {build.lane} lane ({build.reason})")
    for name, file in build.files.items():
        say(f"  {name}: {file.stat().st_size} bytes, {file}")


@app.command()
def fetch(
    os: Annotated[str, typer.Argument(help="A name of `rackctl os list` (default: all that rack.yml names).")] = "",
    version: Annotated[str, typer.Argument(help="Such as v1.5.8, v1.5.x, stable or latest.")] = "",
    update: Annotated[bool, typer.Option("--update", help="Ask upstream again and move rack.lock.")] = False,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Fetch OS releases into the store, checked; with or without a rack.

    Example: rackctl fetch rancheros v1.5.x
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.cli.progress import live_progress
    from rackctl.core.load import parse_os
    from rackctl.supply import fetch_for_rack

    folder = RackFolder(rack)
    wanted = parse_os(os, version, folder.catalog()) if os else None
    with live_progress((lambda line: print(line, file=sys.stderr)) if as_json else say) as (report, progress):
        found = fetch_for_rack(folder, wanted, update, report, progress)
    if as_json:
        typer.echo(json.dumps([release.to_json() for release in found]))
        return
    for release in found:
        say(f"{release.os} {release.version}")
        for name, artifact in release.artifacts.items():
            say(f"  {name:<10} {artifact.size:>11} bytes  sha256 {artifact.sha256} ({artifact.trust})")


@app.command()
def up(rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Build and fetch what is missing, serve it, and prove that it is served.

    Example: rackctl up --rack myrack
    """
    from rackctl import apply
    from rackctl.adapters.folder import RackFolder
    from rackctl.cli.progress import live_progress

    folder = RackFolder(rack)
    with live_progress((lambda line: print(line, file=sys.stderr)) if as_json else say) as (report, progress):
        done = apply.bring_up(folder, report, progress)
    if as_json:
        typer.echo(json.dumps(done.__dict__))
        return
    if not done.changed:
        say(f"nothing to do: tree {done.tree} is served")
        return
    address = folder.read_rack().server.address
    say(f"serving tree {done.tree}; iPXE from the {done.lane} lane ({done.reason})")
    say("enter in your router's DHCP:")
    say(f"  next-server (option 66)  {address}")
    say(f"  file (option 67)         {done.bios_file} for BIOS, {done.efi_file} for UEFI x86_64")


@app.command()
def down(rack: RackOption = Path()) -> None:
    """Stop the services; logs and artifacts stay.

    Example: rackctl down
    """
    from rackctl import apply
    from rackctl.adapters.folder import RackFolder

    apply.bring_down(RackFolder(rack))
    say("down: the services are stopped; logs and artifacts stay")


@app.command()
def status(rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Services, what is served, and the memory they use.

    Example: rackctl status --json
    """
    from rackctl.adapters.engine import list_services, private_memory
    from rackctl.adapters.folder import RackFolder

    folder = RackFolder(rack)
    server = folder.read_rack().server
    services: list[dict[str, object]] = [
        {**row, "private_bytes": private_memory(row["id"])} for row in list_services(folder.project)
    ]
    if as_json:
        typer.echo(json.dumps({"tree": folder.served_id(), "services": services}))
        return
    say(f"tree {folder.served_id() or 'none'}")
    say(f"tftp {server.address}:69/udp, http {server.address}:{server.http_port}/tcp")
    for row in services:
        memory = row["private_bytes"]
        say(
            f"  {row['service']:<10} {row['status']}"
            + (f", {int(str(memory)) / 2**20:.1f} MiB private" if memory is not None else "")
        )
    if not services:
        say("  nothing runs: rackctl up starts it")
