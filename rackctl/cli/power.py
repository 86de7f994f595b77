"""CLI. power, bootdev, sensors, sel, bmc check, console: what a machine's BMC can be asked."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, teller

if TYPE_CHECKING:
    from rackctl.core.power import Outcome
    from rackctl.power import Power, Request

_HOUR = 3600

bmc = typer.Typer(no_args_is_help=True, help="The machines' management controllers.")
app.add_typer(bmc, name="bmc")

NodesArgument = Annotated[list[str] | None, typer.Argument(help="Names in rack.yml.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every node of rack.yml.")]
GroupOption = Annotated[str, typer.Option(help="The nodes with this word in their groups.")]


StaggerOption = Annotated[float, typer.Option(min=0, max=_HOUR, help="Seconds between two machines.")]


class Action(StrEnum):
    """What to do with the power."""

    status = "status"
    on = "on"
    off = "off"
    soft = "soft"
    cycle = "cycle"
    reset = "reset"


class Device(StrEnum):
    """What to boot from."""

    pxe = "pxe"
    disk = "disk"
    bios = "bios"


@app.command()
def power(
    action: Annotated[Action, typer.Argument(help="off shuts the system down first; cycle and reset do not.")],
    nodes: NodesArgument = None,
    everything: AllOption = False,
    group: GroupOption = "",
    force: Annotated[bool, typer.Option("--force", help="off: cut the power at once.")] = False,
    stagger: StaggerOption = 0.0,
    wait: Annotated[
        float | None,
        typer.Option(min=0, max=_HOUR, help="Seconds to reach the state (default: bmc.wait)."),
    ] = None,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Ask, switch on, shut down, cut, cycle or reset machines, all at once, and wait until they are there.

    off asks the system to shut down, waits, and asks you before it cuts the power of those that are still on.

    Example: rackctl power on --all --stagger 2
    """
    from rackctl.core.power import Verb
    from rackctl.power import Request

    session, chosen = _open(rack, nodes, group, everything, as_json)
    verb = Verb(action.value)
    if verb is Verb.OFF and not force:
        outcomes = _off_gracefully(session, chosen, stagger, wait, as_json)
    else:
        outcomes = _run(session, chosen, Request(verb, stagger=stagger, wait=wait), as_json)
    _end(outcomes, as_json)


@app.command()
def bootdev(
    nodes: Annotated[list[str], typer.Argument(help="Names in rack.yml, then the device: pxe, disk or bios.")],
    everything: AllOption = False,
    group: GroupOption = "",
    persistent: Annotated[bool, typer.Option("--persistent/--once", help="For every boot, or for the next.")] = False,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Set what machines boot from next, read it back and compare: some BMCs say yes and ignore it.

    A node with firmware: uefi in rack.yml gets the EFI flag too.

    Example: rackctl bootdev node1 pxe
    """
    from rackctl.core.power import Verb
    from rackctl.errors import ConfigError
    from rackctl.power import Request

    *names, device = nodes
    if device not in list(Device):
        raise ConfigError(
            f"{device!r} is no boot device", remedy="end with pxe, disk or bios: rackctl bootdev node1 pxe"
        )
    session, chosen = _open(rack, names, group, everything, as_json)
    _end(_run(session, chosen, Request(Verb.BOOTDEV, device=device, persistent=persistent), as_json), as_json)


@app.command()
def sensors(
    nodes: NodesArgument = None,
    everything: AllOption = False,
    group: GroupOption = "",
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Temperatures, fans, voltages and power, as the BMCs read them.

    Example: rackctl sensors node1
    """
    from rackctl.core.power import Verb
    from rackctl.power import Request

    session, chosen = _open(rack, nodes, group, everything, as_json)
    _end(_run(session, chosen, Request(Verb.SENSORS), as_json), as_json)


@app.command()
def sel(
    nodes: NodesArgument = None,
    everything: AllOption = False,
    group: GroupOption = "",
    clear: Annotated[bool, typer.Option("--clear", help="Show the log, then clear it.")] = False,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """The system event logs of the BMCs.

    Example: rackctl sel node1 --clear
    """
    from rackctl.core.power import Verb
    from rackctl.power import Request

    session, chosen = _open(rack, nodes, group, everything, as_json)
    outcomes = _run(session, chosen, Request(Verb.SEL), as_json)
    if clear:
        read = [outcome.node for outcome in outcomes if outcome.ok and not outcome.partial]
        kept = [_keep(outcome, as_json) for outcome in outcomes if outcome.partial]
        cleared = _run(session, read, Request(Verb.SEL_CLEAR), as_json) if read else ()
        outcomes = (*(outcome for outcome in outcomes if not outcome.ok or as_json), *kept, *cleared)
    _end(outcomes, as_json)


def _keep(shown: Outcome, as_json: bool) -> Outcome:
    """The refusal to clear what was not shown as a whole."""
    from rackctl.cli.power_out import outcome_lines
    from rackctl.core.power import Fault, Outcome, Verb

    text = "not cleared: its log has more entries than were shown"
    kept = Outcome(shown.node, Verb.SEL_CLEAR, shown.driver, text=text, fault=Fault.UNSUPPORTED)
    if not as_json:
        say(outcome_lines(kept))
    return kept


@app.command()
def console(
    node: Annotated[str, typer.Argument(help="Name in rack.yml.")],
    log: Annotated[Path | None, typer.Option(help="Write what is shown to this file too.")] = None,
    take: Annotated[bool, typer.Option("--take", help="End the session of somebody else first.")] = False,
    rack: RackOption = Path(),
) -> None:
    """The serial console of a machine, over its BMC. Enter ~ . ends it.

    Example: rackctl console node1 --log node1.log
    """
    import contextlib

    session, (chosen,) = _open(rack, [node], "", False, False)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(log, "ab")) if log else None

        def show(got: bytes) -> None:
            sys.stdout.buffer.write(got)
            sys.stdout.buffer.flush()
            if file:
                file.write(got)
                file.flush()

        session.open_console(chosen, take, show)


@bmc.command()
def check(
    nodes: NodesArgument = None,
    everything: AllOption = False,
    group: GroupOption = "",
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Reachability, credentials, firmware, cipher suite or certificate, and LAN settings of BMCs.

    Example: rackctl bmc check --all
    """
    from rackctl.core.power import Verb
    from rackctl.power import Request

    session, chosen = _open(rack, nodes, group, everything, as_json)
    _end(_run(session, chosen, Request(Verb.CHECK), as_json), as_json)


def _open(
    rack: Path, names: Sequence[str] | None, group: str, everything: bool, as_json: bool
) -> tuple[Power, tuple[str, ...]]:
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.power import select_nodes
    from rackctl.power import Power

    folder = RackFolder(rack)
    found = folder.read_rack()
    chosen = select_nodes(found, names or (), group, everything)
    ask = (lambda prompt: getpass.getpass(f"{prompt}: ")) if sys.stdin.isatty() else None
    report = teller(as_json)
    return Power(folder, found, report, ask), chosen


def _run(session: Power, nodes: Sequence[str], request: Request, as_json: bool) -> tuple[Outcome, ...]:
    """Carry it out; each line is printed when it is known, or a live table is shown on a terminal."""
    if as_json:
        return session.carry_out(nodes, request, lambda _outcome: None)
    from rackctl.cli.power_out import show_outcomes

    with show_outcomes(nodes, request.verb) as watch:
        return session.carry_out(nodes, request, watch)


def _off_gracefully(
    session: Power, nodes: Sequence[str], stagger: float, wait: float | None, as_json: bool
) -> tuple[Outcome, ...]:
    from rackctl.core.power import Fault, Verb
    from rackctl.power import Request

    outcomes = _run(session, nodes, Request(Verb.SOFT, stagger=stagger, wait=wait), as_json)
    stubborn = [o.node for o in outcomes if o.fault in (Fault.IGNORED, Fault.UNSUPPORTED)]
    if not stubborn or as_json or not sys.stdin.isatty():
        return outcomes
    if not typer.confirm(f"still on: {', '.join(stubborn)}. Cut the power?"):
        return outcomes
    forced = {o.node: o for o in _run(session, stubborn, Request(Verb.OFF, wait=wait), as_json)}
    return tuple(forced.get(outcome.node, outcome) for outcome in outcomes)


def _end(outcomes: Sequence[Outcome], as_json: bool) -> None:
    """Print the JSON, or what to do about the failures; raises PowerError when there is one."""
    from rackctl.core.power import REMEDY
    from rackctl.errors import PowerError

    if as_json:
        typer.echo(json.dumps({"outcomes": [outcome.to_json() for outcome in outcomes]}))
    bad = [outcome for outcome in outcomes if not outcome.ok]
    if not bad:
        return
    faults = list(dict.fromkeys(outcome.fault for outcome in bad if outcome.fault))
    remedy = "\n  -> ".join(f"{fault.value}: {REMEDY[fault]}" for fault in faults)
    names = ", ".join(outcome.node for outcome in bad[:8]) + (", ..." if len(bad) > 8 else "")
    raise PowerError(f"{len(bad)} of {len(outcomes)} failed: {names}", remedy=remedy)
