"""CLI. dhcp: settings for the router at hand, and who answers on the wire. explain: what one machine would get."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, teller
from rackctl.errors import ConfigError, ServeError

if TYPE_CHECKING:
    from rackctl.core.dhcp.answers import Answer
    from rackctl.dhcp import Audit

dhcp = typer.Typer(no_args_is_help=True, help="The router's settings, and who answers DHCP on the wire.")
app.add_typer(dhcp, name="dhcp")


class Firmware(StrEnum):
    """Whose boot file a router that knows only one gets."""

    bios = "bios"
    uefi = "uefi"


@dhcp.command()
def show(
    kind: Annotated[
        str,
        typer.Option(
            "--for",
            help="unifi, edgerouter (usg), openwrt, mikrotik, pfsense, opnsense, dhcpd (isc), kea, dnsmasq, pihole, "
            "windows, cisco, juniper, fritzbox or technitium.",
        ),
    ],
    firmware: Annotated[
        Firmware, typer.Option(help="Whose boot file a router that can name only one is given.")
    ] = Firmware.uefi,
    rack: RackOption = Path(),
) -> None:
    """Print the exact settings for one kind of router, from rack.yml; needs no engine.

    Example: rackctl dhcp show --for openwrt
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.dhcp.advice import find_kind, render_advice
    from rackctl.dhcp import known_loaders

    found = find_kind(kind)
    folder = RackFolder(rack)
    parsed = folder.read_rack()
    say(render_advice(parsed, found, known_loaders(folder, parsed), firmware.value).rstrip("\n"))


@dhcp.command()
def audit(
    interface: Annotated[str, typer.Option(help="Where to ask (default: the link with server.address).")] = "",
    mac: Annotated[
        str, typer.Option(help="Play this machine or node of rack.yml (default: one that nobody knows).")
    ] = "",
    wait: Annotated[float, typer.Option(min=1, max=120, help="Seconds for the last answer to come.")] = 5.0,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Ask for an address as every kind of firmware would, show who answers what, and explain what is wrong.

    Nothing is changed: no lease is taken. Exit code 5 when a problem is an error.

    Example: rackctl dhcp audit --interface eth0
    """
    from rackctl.adapters import engine, imagebuild
    from rackctl.adapters.folder import RackFolder
    from rackctl.dhcp import run_audit

    folder = RackFolder(rack)
    parsed = folder.read_rack()
    engine.check_engine()
    tell = teller(as_json)
    image = imagebuild.build_image("tftp", tell)
    played = parsed.nodes[mac].mac if mac in parsed.nodes else _mac(mac)
    tell("asking as eight kinds of client; a server may take some seconds to answer")
    done = run_audit(folder, parsed, image, interface, played, wait)
    if as_json:
        say(json.dumps({"link": done.link, "mac": done.mac, "answers": [a.to_json() for a in done.answers],
                        "problems": [p.to_json() for p in done.problems]}))  # fmt: skip
    else:
        _show_audit(done)
    if any(problem.level == "error" for problem in done.problems):
        raise typer.Exit(ServeError.exit_code)


def _mac(text: str) -> str:
    from rackctl.core.model import parse_mac

    try:
        return parse_mac(text) if text else ""
    except ValueError as wrong:
        raise ConfigError(f"{text!r} is neither a node of rack.yml nor a MAC", "--mac", str(wrong)) from wrong


def _show_audit(done: Audit) -> None:
    from rackctl.core.dhcp.clients import CLIENTS

    say(f"on {done.link}, as machine {done.mac}:")
    for client in CLIENTS:
        rows = [a for a in done.answers if a.client == client.key]
        for first, row in zip([True, *[False] * len(rows)], rows, strict=False):
            say(f"  {client.title if first else '':<19} {_answer_line(row, done)}")
        if not rows:
            say(f"  {client.title:<19} no answer")
    for problem in done.problems:
        say(f"{problem.level}: {problem.text} [{problem.name}]\n  -> {problem.remedy}")
    if not done.problems:
        say("nothing is wrong: every machine is told one file, and each of those files is there")


def _answer_line(row: Answer, done: Audit) -> str:
    what = {"address": f"offers {row.offered}", "proxy": "proxy", "4011": "proxy, port 4011"}[row.kind]
    name = f", name {row.host_name}" if row.host_name else ""
    if not row.boot_file:
        return f"{row.server} {what}{name}, no file"
    state = {"ours": "this rack's", "other": "not this rack's", "missing": "MISSING"}
    read = state.get(done.states.get((row.boot_server, row.boot_file), ""), "not read")
    place = "" if "://" in row.boot_file else f" from {row.boot_server}"
    return f"{row.server} {what}{name}, {row.boot_file}{place} ({read})"


@app.command()
def explain(
    machine: Annotated[str, typer.Argument(help="MAC, or a node's name in rack.yml.")],
    arch: Annotated[
        str, typer.Option(help="Only this client: bios, uefi, http, uefi-arm64..., or a code of option 93.")
    ] = "",
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Tell which answer, loader, script, kernel line and config a machine would get, each with its line of rack.yml.

    Asks nobody: the network, the engine and the machine can be off.

    Example: rackctl explain 52:54:00:12:34:56 --arch uefi
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.explain import explain_machine
    from rackctl.dhcp import describe_machine

    steps = explain_machine(describe_machine(RackFolder(rack), machine, arch))
    if as_json:
        say(json.dumps([step.to_json() for step in steps]))
        return
    for step in steps:
        say(f"{step.name}: {step.text}")
        for key, line in step.because:
            say(f"    {key}: " + (f"rack.yml:{line}" if line else "not in rack.yml, the default"))
