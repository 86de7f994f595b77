"""CLI. mac bless: what to type on Macs, or typed on all of them at once."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption
from rackctl.cli.mac import mac
from rackctl.cli.out import say
from rackctl.errors import BootError, ConfigError

if TYPE_CHECKING:
    from rackctl.core.bless import BlessPlan, Via
    from rackctl.core.model import Node, Rack
    from rackctl.macssh import Outcome


class How(StrEnum):
    """Whom the Mac asks at its next start."""

    auto = "auto"
    bsdp = "bsdp"
    tftp = "tftp"


@mac.command()
def bless(
    nodes: Annotated[list[str] | None, typer.Argument(help="Macs of rack.yml.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every Mac of rack.yml that netboots.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Do it over SSH, on all at once.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Back to the disk.")] = False,
    nextonly: Annotated[bool, typer.Option("--nextonly", help="For the next start only.")] = False,
    via: Annotated[How, typer.Option(help="bsdp asks the responder, tftp names the file (auto: bsdp if it runs).")] = (
        How.auto
    ),
    ask_password: Annotated[bool, typer.Option("--ask-password", help="Ask once for sudo's password.")] = False,
    ssh_config: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="ssh's configuration.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="How many Macs at once.")] = 16,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make Macs netboot without anybody holding keys: prints the commands, or runs them.

    Example: rackctl mac bless --all --run --nextonly
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.bless import facts_of, plan_bless
    from rackctl.macssh import Order, bless_all

    found = RackFolder(rack).read_rack()
    chosen = _choose(found, nodes or [], everyone)
    word = via.value if via is not How.auto else ("bsdp" if found.mac.bsdp else "tftp")
    source: Via = "bsdp" if word == "bsdp" else "tftp"
    if run:
        password = typer.prompt("sudo password", hide_input=True, err=True) if ask_password else ""
        order = Order(source, nextonly, undo, password, ssh_config)
        outcomes = bless_all(found, list(chosen), order, parallel, (lambda *_: None) if as_json else _show_outcome)
        if as_json:
            typer.echo(json.dumps({name: outcome.to_json() for name, outcome in outcomes.items()}))
        if failed := [name for name, outcome in outcomes.items() if not outcome.ok]:
            raise BootError(f"{len(failed)} of {len(outcomes)} failed: {', '.join(failed)}", remedy="see above")
        return
    plans = {name: plan_bless(found, node, facts_of(node), source, nextonly=nextonly) for name, node in chosen.items()}
    if as_json:
        typer.echo(json.dumps({name: asdict(plan) for name, plan in plans.items()}))
        return
    for name, plan in plans.items():
        _show(name, chosen[name], plan, undo)


def _choose(rack: Rack, names: list[str], everyone: bool) -> dict[str, Node]:
    macs = {name: node for name, node in rack.nodes.items() if node.is_mac and node.mac_boot == "network"}
    if everyone and not macs:
        raise ConfigError("no node is a Mac that netboots", "rack.yml", "mac_model: Macmini6,2, or apple: true")
    if everyone:
        names = list(macs)
    if not names:
        raise ConfigError("no Mac is named", remedy="rackctl mac bless NODE, or --all")
    for name in names:
        if name not in macs:
            what = "is no Mac that netboots" if name in rack.nodes else "is not in rack.yml"
            raise ConfigError(f"{name} {what}", "rack.yml", f"Macs there: {', '.join(macs) or 'none (mac_model: ...)'}")
    return {name: macs[name] for name in names}


def _show(name: str, node: Node, plan: BlessPlan, undo: bool) -> None:
    say(f"{name}: {node.mac_model or 'Mac'}, {f'macOS {node.macos}' if node.macos else 'macOS unknown'}")
    if plan.refusal:
        say(f"  cannot: {plan.refusal}")
        return
    recovery, commands = (plan.undo_recovery, plan.undo) if undo else (plan.recovery, plan.commands)
    if recovery and not undo:
        say("  once, in Recovery (start with Command-R held, then Utilities > Terminal):")
        say("\n".join(f"    {line}" for line in recovery))
    say("  in macOS:")
    for argv in commands:
        say(f"    sudo {' '.join(argv)}")
    if recovery and undo:
        say("  and, to take the permission back, in Recovery:")
        say("\n".join(f"    {line}" for line in recovery))
    for note in plan.notes if not undo else ():
        say(f"  note: {note}")


def _show_outcome(name: str, outcome: Outcome) -> None:
    text = f"{name}: {outcome.did}" if outcome.ok else f"{name}: {outcome.error}"
    text += f"\n  -> {outcome.remedy}" if outcome.remedy else ""
    text += "".join(f"\n  note: {note}" for note in outcome.notes)
    say(text)
