"""CLI. fetch, up, down, status: what the master serves."""

from __future__ import annotations

import json
from os import environ
from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, show_bytes, summarize_paths, teller


@app.command()
def fetch(
    os: Annotated[str, typer.Argument(help="A name of `rackctl os list` (default: all that rack.yml names).")] = "",
    version: Annotated[str, typer.Argument(help="Such as v1.5.8, v1.5.x, stable or latest.")] = "",
    arch: Annotated[str, typer.Option(help="The machines' processor: amd64 or arm64.")] = "amd64",
    update: Annotated[bool, typer.Option("--update", help="Ask upstream again and move rack.lock.")] = False,
    limit_rate: Annotated[
        str,
        typer.Option(help="Bytes per second for all downloads together, as 500K or 2M.", envvar="RACKCTL_LIMIT_RATE"),
    ] = "",
    prune: Annotated[bool, typer.Option("--prune", help="Remove what no rack's lock names from the store.")] = False,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Fetch OS releases into the store, checked; with or without a rack.

    Example: rackctl fetch rancheros v1.5.x
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.cli.progress import live_progress
    from rackctl.core.load import parse_os
    from rackctl.supply import fetch_for_rack, prune_store

    if prune:
        gone = prune_store(say)
        say(f"removed {gone.files} files, {gone.nbytes / 2**20:.1f} MiB")
        return
    if limit_rate:
        environ["RACKCTL_LIMIT_RATE"] = limit_rate
    folder = RackFolder(rack)
    wanted = parse_os(os, version, folder.catalog(), arch) if os else None
    with live_progress(teller(as_json)) as (report, progress):
        found = fetch_for_rack(folder, wanted, update, report, progress)
    if as_json:
        typer.echo(json.dumps([release.to_json() for release in found]))
        return
    shown = {"pinned": "unsigned, pinned", "published": "unsigned, published sum"}
    for release in found:
        say(release.title)
        for name, artifact in release.artifacts.items():
            trust = shown.get(artifact.trust, artifact.trust)
            say(f"  {name:<10} {artifact.size:>11} bytes  sha256 {artifact.sha256} ({trust})")


@app.command()
def up(rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Build and fetch what is missing, serve it, and prove that it is served.

    Example: rackctl up --rack myrack
    """
    from rackctl import apply
    from rackctl.adapters.folder import RackFolder
    from rackctl.cli.progress import live_progress
    from rackctl.core.macadvice import mac_hint

    folder = RackFolder(rack)
    with live_progress(teller(as_json)) as (report, progress):
        done = apply.bring_up(folder, report, progress)
    if as_json:
        typer.echo(json.dumps(done.to_json()))
        return
    if not done.plan.steps:
        say(f"nothing to do: tree {done.tree} is served")
        return
    for step in done.plan.steps[:-1]:
        say(f"{step.verb}: {step.reason}")
    address = folder.read_rack().server.address
    say(f"serving tree {done.tree}, read back from {address} byte for byte")
    say(f"iPXE: {done.lane} lane ({done.reason})")
    if hint := mac_hint(folder.read_rack()):
        say(hint)
    mode = folder.read_rack().dhcp.mode
    if mode != "router":
        say({"proxy": "machines are told what to boot by rackctl, beside your DHCP server",
             "server": "machines get their addresses and what to boot from rackctl"}[mode])  # fmt: skip
        return
    say("enter in your router's DHCP (rackctl dhcp show --for KIND has it for yours):")
    say(f"  next-server (option 66)  {address}")
    say(f"  file (option 67)         {done.bios_file} for BIOS, {done.efi_file} for UEFI x86_64")


@app.command()
def down(rack: RackOption = Path()) -> None:
    """Stop the services; logs and artifacts stay.

    Example: rackctl down
    """
    from rackctl import apply
    from rackctl.adapters.folder import RackFolder

    folder = RackFolder(rack)
    folder.read_rack()
    if apply.bring_down(folder):
        say("down: the services are stopped; logs and artifacts stay")
    else:
        say("nothing to do: no service of this rack runs")


@app.command()
def status(rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Services with their ports, what is served, disk and memory.

    Example: rackctl status --json
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.status import gather_status

    found = gather_status(RackFolder(rack))
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    running = {one.service: one for one in found.services}
    for name, port in found.ports.items():
        one = running.get(name)
        state = f"{one.state}{f' ({one.health})' if one.health else ''}" if one else "not running: rackctl up starts it"
        memory = show_bytes(found.memory[name]) if name in found.memory else ""
        say(f"{name:<10} {port:<24} {state:<20} {memory}".rstrip())
    if found.memory:
        say(f"memory     {show_bytes(sum(found.memory.values()))} private in all")
    disk = {name: show_bytes(size) for name, size in found.disk.items()}
    say(f"disk       tree {disk['tree']}, logs {disk['logs']}, cache {disk['cache']}; {disk['free']} are free")
    if found.https_until:
        say(f"https      certificate of the rack's own CA, good until {found.https_until}")
    say(f"serves     {f'tree {found.tree}' if found.tree else 'nothing'}")
    for line in summarize_paths(found.served):
        say(f"           {line}")
