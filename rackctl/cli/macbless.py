"""CLI. mac bless: what to type on Macs, or typed on all of them at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption
from rackctl.cli.mac import mac
from rackctl.cli.out import say
from rackctl.errors import BootError, ConfigError, RackError

if TYPE_CHECKING:
    from rackctl.core.bless import BlessPlan, Via
    from rackctl.core.model import Node, Rack


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
    ssh_config: Annotated[Path | None, typer.Option(help="Configuration file of ssh.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="How many Macs at once.")] = 16,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make Macs netboot without anybody holding keys: prints the commands, or runs them.

    Example: rackctl mac bless --all --run --nextonly
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.bless import facts_of, plan_bless

    found = RackFolder(rack).read_rack()
    chosen = _choose(found, nodes or [], everyone)
    word = via.value if via is not How.auto else ("bsdp" if found.mac.bsdp else "tftp")
    source: Via = "bsdp" if word == "bsdp" else "tftp"
    if run:
        password = typer.prompt("sudo password", hide_input=True) if ask_password else ""
        with ThreadPoolExecutor(parallel) as pool:
            tasks = {
                name: pool.submit(_run_one, found, name, source, nextonly, undo, password, ssh_config)
                for name in chosen
            }
            results = {name: task.result() for name, task in tasks.items()}
        _report(results, as_json)
        return
    plans = {name: plan_bless(found, node, facts_of(node), source, nextonly=nextonly) for name, node in chosen.items()}
    if as_json:
        typer.echo(json.dumps({name: asdict(plan) for name, plan in plans.items()}))
        return
    for name, plan in plans.items():
        _show(name, chosen[name], plan, undo)


def _choose(rack: Rack, names: list[str], everyone: bool) -> dict[str, Node]:
    macs = {name: node for name, node in rack.nodes.items() if node.is_mac and node.mac_boot == "network"}
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


def _run_one(
    rack: Rack, name: str, via: Via, nextonly: bool, undo: bool, password: str, config: Path | None
) -> dict[str, object]:
    """Ask one Mac what it is, decide, and do it. What went wrong is an answer too: the others go on."""
    from rackctl.adapters.ssh import run_remote, sudo_line
    from rackctl.core.bless import GATHER, parse_facts, plan_bless

    node = rack.nodes[name]
    login = node.ssh or name
    try:
        facts = parse_facts(run_remote(login, GATHER, config=config))
        plan = plan_bless(rack, node, facts, via, nextonly=nextonly)
        if plan.refusal:
            raise BootError(plan.refusal)
        if plan.blocked and not undo:
            raise BootError("System Integrity Protection is on", remedy=f"once, in Recovery: {plan.recovery[0]}")
        said = []
        for argv in plan.undo if undo else plan.commands:
            line = sudo_line(argv, password=bool(password))
            said.append(run_remote(login, line, config=config, stdin=f"{password}\n".encode() if password else None))
        return {"ok": True, "did": "undone" if undo else "blessed", "said": "".join(said).strip(), "notes": plan.notes}
    except RackError as wrong:
        return {"ok": False, "error": wrong.message, "remedy": wrong.remedy}


def _report(results: dict[str, dict[str, object]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(results))
    else:
        for name, result in results.items():
            text = result["did"] if result["ok"] else f"{result['error']}\n  -> {result['remedy']}"
            say(f"{name}: {text}")
            notes = result.get("notes", ())
            for note in notes if isinstance(notes, tuple) else ():
                say(f"  note: {note}")
    if failed := [name for name, result in results.items() if not result["ok"]]:
        raise BootError(f"{len(failed)} of {len(results)} failed: {', '.join(failed)}", remedy="see above")
