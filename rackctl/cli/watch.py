"""CLI. watch: the logs as they grow, a hook for each machine's first check-in, and the status page kept live."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say, warn

if TYPE_CHECKING:
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.events import Event
    from rackctl.core.timeline import Timeline
    from rackctl.follow import Follower

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
    hook = _Hook(folder, _split(on_checkin)) if on_checkin else None
    page = _Page(folder)
    names = follower.known.names
    shown = once or as_json  # what happened before is told only to those who ask for all of it

    def show(event: Event) -> None:
        if shown:
            say(json.dumps(event.to_json()) if as_json else _line(event, names))

    while True:
        now = time.time()
        events = follower.read(float("inf") if once else now, show)
        if not found.status:
            page.write(follower, now, events)
        if hook:
            hook.tell(follower, now)
        if once:
            return
        shown = True
        time.sleep(_TICK)


def _split(command: str) -> list[str]:
    from rackctl.errors import ConfigError

    try:
        words = shlex.split(command)
    except ValueError as wrong:
        raise ConfigError(f"{wrong}: {command}", "--on-checkin", "close the quotes") from wrong
    if not words:
        raise ConfigError("names no program", "--on-checkin", "name one, as in --on-checkin ./add-node.sh")
    return words


def _line(event: Event, names: Mapping[str, str]) -> str:
    from rackctl.core.fold import stage_name

    at = time.strftime("%H:%M:%S", time.localtime(event.time))
    who = names.get(event.mac or "", event.mac or event.ip)
    what = event.detail.get("uri") or event.detail.get("file") or event.detail.get("kind", "")
    failed = f"  FAILED: {event.detail.get('problem', '')}" if not event.ok else ""
    return f"{at}  {who:<17}  {stage_name(event.stage):<9}  {what}{failed}"


class _Page:
    """The status page's files, which one process writes; another takes over when that one ends."""

    def __init__(self, folder: RackFolder) -> None:
        self.folder = folder
        self.role: IO[str] | None = None
        self.told = False
        self.failed = ""

    def write(self, follower: Follower, now: float, events: list[Event]) -> None:
        """Bring them up to date, where they are ours. A full disk is told of once, and tried again."""
        from rackctl.report import describe_unwritten

        try:
            if self._is_mine():
                follower.write(now, events)
            self.failed = ""
        except OSError as wrong:
            if self.failed != str(wrong):
                self.failed = str(wrong)
                warn(describe_unwritten(wrong))

    def _is_mine(self) -> bool:
        from rackctl.report import PAGE

        if self.role is None and self.folder.status.is_dir():
            self.role = self.folder.take(PAGE)
            if self.role is None and not self.told:
                self.told = True
                told = (
                    f"another rackctl ({self.folder.holder(PAGE)}) keeps the status page; this one does when that ends"
                )
                warn(told)
        return self.role is not None


class _Hook:
    """Runs the command for each machine that came up and was not told of; at least once each, also after a kill."""

    def __init__(self, folder: RackFolder, argv: list[str]) -> None:
        from rackctl.errors import BusyError

        self.file, self.argv = folder.work / "announced", argv
        self.role = folder.take("hook")
        if self.role is None:
            raise BusyError(
                f"another rackctl watch ({folder.holder('hook')}) runs the hook of this rack",
                where=str(folder.path),
                remedy="end that one, or leave out --on-checkin: each machine is announced once",
            )
        self.told = set(self.file.read_text().split()) if self.file.exists() else set()
        self.tries: dict[str, int] = {}

    def tell(self, follower: Follower, now: float) -> None:
        from rackctl.core.events import Stage
        from rackctl.core.status import make_node

        boots: dict[str, list[Timeline]] = {}
        for timeline in follower.timelines(now):
            if timeline.mac and (timeline.mac in follower.known.names or follower.known.unknown != "ignore"):
                boots.setdefault(timeline.mac, []).append(timeline)
        up = (Stage.CHECKIN, Stage.JOINED)
        new = [
            mac
            for mac, own in boots.items()
            if mac not in self.told
            and self.tries.get(mac, 0) < _TRIES
            and any(stage.ok and stage.stage in up for one in own for stage in one.stages)
        ]
        known = follower.know() if new else follower.known
        for mac in new:
            self._run(mac, json.dumps(make_node(mac, boots[mac], known)).encode())

    def _run(self, mac: str, said: bytes) -> None:
        from rackctl.adapters.proc import run
        from rackctl.errors import RackError

        self.tries[mac] = self.tries.get(mac, 0) + 1
        try:
            run(self.argv, stdin=said, timeout=60, error=RackError)
        except RackError as wrong:
            say(f"the hook failed for {mac}, try {self.tries[mac]} of {_TRIES}: {wrong}")
            return
        self.told.add(mac)
        try:
            with open(self.file, "a") as handle:
                handle.write(mac + "\n")
        except OSError as wrong:
            warn(f"that the hook was told of {mac} cannot be noted, the next watch tells it again: {wrong.strerror}")
        say(f"told the hook of {mac}")
