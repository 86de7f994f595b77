"""CLI. watch: the logs as they grow, a hook for each machine's first check-in, and the status page kept live."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say

_TICK = 0.5
_TRIES = 5


@app.command()
def watch(
    on_checkin: Annotated[
        str, typer.Option(help="Command to run at each machine's first check-in; JSON on its stdin.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Read what there is and end.")] = False,
    rack: RackOption = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON line.")] = False,
) -> None:
    """Follow the logs: a line per event, and the status page kept up to date; nothing is lost when it is killed.

    Example: rackctl watch --on-checkin ./add-node.sh
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.report import follow

    folder = RackFolder(rack)
    found = folder.read_rack()
    follower = follow(folder, found)
    hook = _Hook(folder.work / "announced", shlex.split(on_checkin)) if on_checkin else None
    names = follower.known.names
    quiet = True  # what happened before is not told again
    while True:
        now = time.time()
        events = follower.read(float("inf") if once else now, None)
        for event in events if not quiet or once or as_json else ():
            say(json.dumps(event.to_json()) if as_json else _line(event, names))
        if folder.status.is_dir() and not found.status:
            follower.write(now, events)
        if hook:
            hook.tell(follower.status(now, live=True))
        if once:
            return
        quiet = False
        time.sleep(_TICK)


def _line(event: object, names: object) -> str:
    from rackctl.core.events import Event
    from rackctl.core.fold import stage_name

    assert isinstance(event, Event) and hasattr(names, "get")  # noqa: S101 for the type checker alone
    at = time.strftime("%H:%M:%S", time.localtime(event.time))
    who = names.get(event.mac, event.mac or event.ip)
    what = event.detail.get("uri") or event.detail.get("file") or event.detail.get("kind", "")
    failed = f"  FAILED: {event.detail.get('problem', '')}" if not event.ok else ""
    return f"{at}  {who:<17}  {stage_name(event.stage):<9}  {what}{failed}"


class _Hook:
    """Runs the command for each machine that came up and was not told of; at least once each, also after a kill."""

    def __init__(self, file: Path, argv: list[str]) -> None:
        self.file, self.argv = file, argv
        self.told = set(file.read_text().split()) if file.exists() else set()
        self.tries: dict[str, int] = {}

    def tell(self, status: dict[str, object]) -> None:
        from rackctl.adapters.proc import run
        from rackctl.errors import RackError

        rows = status["nodes"]
        assert isinstance(rows, list)  # noqa: S101 make_status wrote it
        for row in rows:
            mac = str(row["mac"])
            if row["verdict"] != "done" or mac in self.told or self.tries.get(mac, 0) >= _TRIES:
                continue
            self.tries[mac] = self.tries.get(mac, 0) + 1
            try:
                run(self.argv, stdin=json.dumps(row).encode(), timeout=60, error=RackError)
            except RackError as wrong:
                say(f"the hook failed for {mac}, try {self.tries[mac]} of {_TRIES}: {wrong}")
                continue
            self.told.add(mac)
            with open(self.file, "a") as handle:
                handle.write(mac + "\n")
            say(f"told the hook of {mac}")
