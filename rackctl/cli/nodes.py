"""CLI. nodes, timeline and reinstall: who booted, how far, when; machines written into rack.yml."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, show_timeline, warn

if TYPE_CHECKING:
    from rackctl.core.diagnosis import Context
    from rackctl.core.timeline import Timeline

nodes = typer.Typer(invoke_without_command=True)
app.add_typer(nodes, name="nodes")
_TICK = 0.5


@nodes.callback()
def list_nodes(context: typer.Context, rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Every machine that booted or is in rack.yml: what it is, and how far its last boot came.

    Example: rackctl nodes
    """
    if context.invoked_subcommand:
        return
    from rackctl.adapters.folder import RackFolder
    from rackctl.report import take_status

    status = take_status(RackFolder(rack), warn)
    if as_json:
        typer.echo(json.dumps(status))
        return
    rows = status["nodes"]
    assert isinstance(rows, list)  # noqa: S101 make_status wrote it
    for row in rows:
        say(_node_line(row))
    hidden = int(str(status["left_out"])) + int(str(status["forgotten"]))
    if hidden:
        say(f"{hidden} more boots or machines that are not in rack.yml are not shown")
    if status["strange_lines"]:
        say(f"{status['strange_lines']} log lines could not be read: rackctl support-bundle holds them")
    if not rows:
        say("no machine has booted, and rack.yml names none")


def _node_line(row: dict[str, object]) -> str:
    name = str(row["name"] or ("unknown" if not row["known"] else ""))
    line = f"{name:<16} {row['mac']}  "
    if row["verdict"] == "never":
        line += "has not booted yet"
    elif row["verdict"] == "done":
        line += f"up {row['seconds']} s after it started, {row['os'] or 'an OS that does not say its name'}"
    elif row["verdict"] == "loaded":
        line += f"loaded {row['seconds']} s after it started, {row['os']}, and its system tells no more"
    elif row["verdict"] == "stuck":
        line += f"stuck before {row['missing']}"
    else:
        line += "booting"
    if row["installed"]:
        line += ", installed"
    for problem in row.get("problems", []):  # type: ignore[attr-defined]
        line += f"\n  {problem['seen']}\n  -> {problem['remedy']}"
    if row["inventory"]:
        line += f"\n  {row['inventory']}"
    return line


@nodes.command()
def adopt(
    mac: Annotated[str, typer.Argument(help="The machine's MAC, as rackctl nodes shows it.")] = "",
    name: Annotated[str, typer.Option(help="Its name in rack.yml.")] = "",
    everyone: Annotated[bool, typer.Option("--all", help="Every unknown machine that checked in.")] = False,
    pattern: Annotated[str, typer.Option(help="Names for --all; {n} is counted up.")] = "node{n}",
    rack: RackOption = Path(),
) -> None:
    """Write machines into rack.yml, comments and order kept, and serve them: the next boot is theirs.

    Example: rackctl nodes adopt 52:54:00:12:34:56 --name n7
    """
    from rackctl import apply, report
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.adopt import name_nodes
    from rackctl.core.model import parse_mac
    from rackctl.errors import ConfigError

    folder = RackFolder(rack)
    taken = folder.read_rack().nodes
    if everyone == bool(mac):
        raise ConfigError("name one MAC, or --all", remedy="rackctl nodes lists the machines")
    if everyone and name:
        raise ConfigError("--name is for one machine", remedy="--pattern 'name{n}' gives each of --all its name")
    if everyone:
        wanted = name_nodes(report.find_unknown(folder), pattern, taken)
    else:
        try:
            wanted = {name or name_nodes([mac], pattern, taken).popitem()[0]: parse_mac(mac)}
        except ValueError as wrong:
            raise ConfigError(str(wrong), remedy="rackctl nodes lists the machines") from wrong
    if not wanted:
        say("no unknown machine has checked in")
        return
    report.write_nodes(folder, wanted)
    for one, address in wanted.items():
        say(f"adopted {address} as {one}")
    if folder.served_id():
        apply.bring_up(folder, lambda _line: None)
        say("served: the next boot is theirs")
    else:
        say("rackctl up serves them")


@app.command()
def timeline(
    node: Annotated[str, typer.Argument(help="Name in rack.yml, or MAC.")],
    watch: Annotated[bool, typer.Option("--watch", help="Follow it live, until Ctrl-C.")] = False,
    boot: Annotated[int, typer.Option(min=0, help="Which boot: 0 the last, 1 the one before, and so on.")] = 0,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """One boot of one machine, a bar per stage, with the seconds each took; earlier boots, and the usual.

    Example: rackctl timeline n1 --watch
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.errors import BootError
    from rackctl.report import find_context, follow, resolve

    folder = RackFolder(rack)
    found = folder.read_rack()
    mac = resolve(found, node)
    follower = follow(folder, found)
    shown = ""
    while True:
        now = time.time()
        follower.read(now if watch else float("inf"))
        boots = [one for one in follower.timelines(now) if one.mac == mac]
        if len(boots) > boot:
            text = _show(boots[: len(boots) - boot], find_context(folder, found, mac), as_json)
            if text != shown:
                say(text if not shown else "\n" + text)
                shown = text
        elif not watch:
            raise BootError(
                f"{node} has not booted {'so often' if boots else ''} from this rack".replace("  ", " "),
                remedy="power it on with network boot first; rackctl nodes lists who did",
            )
        if not watch:
            return
        time.sleep(_TICK)


def _show(boots: list[Timeline], context: Context, as_json: bool) -> str:
    from rackctl.core.diagnosis import diagnose, explain
    from rackctl.core.repeat import find_repeat
    from rackctl.core.usual import compare, find_usual

    last, earlier = boots[-1], boots[:-1]
    usual, repeat = find_usual(earlier), find_repeat(boots, context)
    if as_json:
        more = {
            "diagnosis": [one.to_json() for one in (*([repeat] if repeat else []), *diagnose(last, context))],
            "usual": usual.to_json() if usual else None,
            "compared": compare(last, usual) if usual else [],
            "earlier": [one.to_json() for one in earlier],
        }
        return json.dumps(last.to_json() | more)
    lines = [show_timeline(last), explain(last, context)]
    lines += [f"  {repeat.seen}", f"  {repeat.causes}", f"  -> {repeat.remedy}"] if repeat else []
    lines += [f"  {line}" for line in (compare(last, usual) if usual else [])]
    if earlier:
        lines.append("earlier boots:")
    for one in reversed(earlier[-10:]):
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.started))
        lines.append(f"  {began}  {one.verdict:<7} {one.seconds:7.1f} s  {one.os}  {one.reason}".rstrip())
    return "\n".join(lines)


@app.command()
def reinstall(
    node: Annotated[str, typer.Argument(help="Name in rack.yml.")],
    confirm: Annotated[str, typer.Option(help="The node's name again; asked for when left out.")] = "",
    rack: RackOption = Path(),
) -> None:
    """Let a node with boot: once install again at its next boot, which may wipe its disk.

    Example: rackctl reinstall n1 --confirm n1
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.inventories import forget_installed
    from rackctl.errors import ConfigError

    folder = RackFolder(rack)
    known = folder.read_rack().nodes
    if node not in known:
        raise ConfigError(f"rack.yml has no node {node!r}", remedy="rackctl nodes lists them")
    if known[node].boot not in ("once", "reinstall"):
        raise ConfigError(
            f"{node} is not installed once: boot: {known[node].boot}", "rack.yml", "set boot: once at this node first"
        )
    if not confirm:
        confirm = typer.prompt(f"The next boot of {node} installs it again. Its name to confirm", default="")
    if confirm != node:
        raise ConfigError(f"{confirm!r} is not {node!r}: nothing was changed", remedy="give the node's name")
    if forget_installed(folder.installed, known[node].mac):
        say(f"{node} installs again at its next boot")
    else:
        say(f"{node} is not installed: its next boot installs it anyway")
