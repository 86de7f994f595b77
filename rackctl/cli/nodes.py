"""CLI. nodes and timeline: who booted, how far, when."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, show_timeline


@app.command()
def nodes(rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Every machine that booted or is in rack.yml, and how far its last boot came.

    Example: rackctl nodes
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.logs import read_timelines
    from rackctl.core.diagnosis import explain
    from rackctl.core.timeline import latest_by_mac

    folder = RackFolder(rack)
    known = {node.mac: name for name, node in folder.read_rack().nodes.items()}
    last = latest_by_mac(read_timelines(folder.logs, time.time()))
    if as_json:
        typer.echo(json.dumps({mac: last[mac].to_json() if mac in last else None for mac in {**known, **last}}))
        return
    for mac in {**known, **last}:
        say(f"{known.get(mac, 'unknown'):<16} {mac}  " + (explain(last[mac]) if mac in last else "has not booted yet"))
    if not known and not last:
        say("no machine has booted, and rack.yml names none")


@app.command()
def timeline(
    node: Annotated[str, typer.Argument(help="Name in rack.yml, or MAC.")],
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """The last boot of one machine, a bar per stage, with the seconds each took.

    Example: rackctl timeline 52:54:00:12:34:56
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.logs import read_timelines
    from rackctl.core.diagnosis import explain
    from rackctl.core.model import parse_mac
    from rackctl.core.timeline import latest_by_mac
    from rackctl.errors import BootError, ConfigError

    folder = RackFolder(rack)
    known = folder.read_rack().nodes
    try:
        mac = known[node].mac if node in known else parse_mac(node)
    except ValueError as wrong:
        raise ConfigError(
            f"{node!r} is neither a node of rack.yml nor a MAC", remedy="rackctl nodes lists them"
        ) from wrong
    found = latest_by_mac(read_timelines(folder.logs, time.time())).get(mac)
    if found is None:
        raise BootError(
            f"{node} has not booted from this rack",
            remedy="power it on with network boot first; rackctl nodes lists who did",
        )
    say(json.dumps(found.to_json()) if as_json else show_timeline(found) + "\n" + explain(found))
