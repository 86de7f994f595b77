"""Takes machines from power-off to the check-in: boot device, power, and their boots followed live."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from rackctl.adapters.folder import RackFolder
from rackctl.adapters.logs import Log, open_logs, read_events
from rackctl.core.config.report import last_stage
from rackctl.core.config.resolve import join_of
from rackctl.core.events import Event, Stage
from rackctl.core.model import Rack, hyphenate
from rackctl.core.power import Fault, Outcome, Verb
from rackctl.core.provision import Ending, Run, deserves_retry, follow, judge, of_this_start
from rackctl.core.tftplog import parse_tftp_line
from rackctl.core.timeline import Timeline, fold_events
from rackctl.power import Power, Request

_TICK = 0.2
_JOINED = b"state=joined"  # what a rendered config posts when its agent runs


@dataclass(frozen=True)
class Options:
    """parallel: machines on their way at a time; stagger: seconds between two; reinstall: as if it never was."""

    parallel: int = 16
    stagger: float = 0.0
    reinstall: bool = False


Watch = Callable[[Run, Timeline | None], None]


class Provision:
    """One `rackctl provision`. watch: sees a machine whenever it came further; note: takes lines."""

    def __init__(self, folder: RackFolder, rack: Rack, power: Power, note: Callable[[str], None], watch: Watch) -> None:
        self.folder = folder
        self.rack = rack
        self.power = power
        self.note = note
        self.watch = watch
        self.runs: dict[str, Run] = {}
        self.endings: dict[str, Ending] = {}
        self.queue: list[tuple[str, int]] = []

    def carry_out(self, nodes: Sequence[str], options: Options) -> tuple[tuple[Ending, ...], bool]:
        """Provision them; the second value tells whether Ctrl-C ended it, which leaves machines as they are."""
        reachable = self._check_bmcs(nodes)
        if options.reinstall:
            for node in reachable:
                # microhttp looks for this mark and then serves the script that boots the disk.
                (self.folder.installed / hyphenate(self.rack.nodes[node].mac)).unlink(missing_ok=True)
        self.queue = [(node, 1) for node in reachable]
        stopped = False
        try:
            self._drive(options)
        except KeyboardInterrupt:
            stopped = True
        now = time.time()
        for node, run in self.runs.items():
            stage = run.reached[-1] if run.reached else "power-on"
            text = f"was left as it is, after {stage}; nothing was switched off"
            self.endings[node] = Ending(node, "left", now - run.powered, "", text, tries=run.tries)
        for node, _ in self.queue:
            self.endings[node] = Ending(node, "left", text="was not touched")
        return tuple(self.endings[node] for node in nodes if node in self.endings), stopped

    def _check_bmcs(self, nodes: Sequence[str]) -> list[str]:
        """The machines whose BMC answers; the others end here."""
        outcomes = self.power.carry_out(nodes, Request(Verb.STATUS), lambda _outcome: None)
        good = []
        for outcome in outcomes:
            if outcome.ok or outcome.fault is Fault.UNSUPPORTED:  # a driver that can only switch on
                good.append(outcome.node)
            else:
                self._refuse(outcome, "bmc")
        return good

    def _refuse(self, outcome: Outcome, stage: str) -> None:
        fault = outcome.fault.value if outcome.fault else ""
        self.endings[outcome.node] = Ending(
            outcome.node, "failed", outcome.seconds, stage, f"{fault}: {outcome.text}", outcome.remedy
        )

    def _drive(self, options: Options) -> None:
        logs = open_logs(self.folder.logs, from_end=True)
        # The virtual rack's routers write their lines beside its BMCs, from the first power-on.
        for machine in (self.folder.work / "lab" / "bmcs").glob("*/"):
            file = machine / "router.jsonl"
            logs.append(Log(file, parse_tftp_line, from_end=file.exists()))
        events: list[Event] = []
        timelines: Sequence[Timeline] = ()
        starting = None
        with ThreadPoolExecutor(max_workers=1) as pool:
            while self.queue or self.runs or starting:
                room = options.parallel - len(self.runs)
                if starting is None and self.queue and room > 0:
                    batch, self.queue = self.queue[:room], self.queue[room:]
                    starting = pool.submit(self._start, batch, options.stagger)
                if starting is not None and starting.done():
                    self._take(starting)
                    starting = None
                # A log's lines can come later than another's that tell of later things: fold them in order of time.
                fresh = list(read_events(logs))
                events = sorted([*events, *fresh], key=lambda event: event.time) if fresh else events
                timelines = fold_events(events, time.time()) if events else timelines
                self._look(timelines)
                time.sleep(_TICK)

    def _start(self, batch: Sequence[tuple[str, int]], stagger: float) -> list[Run | Outcome]:
        """Boot device, then power. What a machine cannot do of the first is told, and it is started all the same."""
        names = [node for node, _ in batch]
        outcomes = self.power.carry_out(names, Request(Verb.BOOTDEV, device="pxe"), lambda _outcome: None)
        found: list[Run | Outcome] = [one for one in outcomes if not one.ok and one.fault is not Fault.UNSUPPORTED]
        for one in outcomes:
            if one.fault is Fault.UNSUPPORTED:
                self.note(f"{one.node}: no boot device ({one.text}): the network must be first in its boot order")
        good = [one.node for one in outcomes if one.ok or one.fault is Fault.UNSUPPORTED]
        begun = time.time()
        # Wake-on-LAN can only switch on.
        wakes = [one.node for one in outcomes if one.driver == "wol"]
        by_verb = {Verb.ON: wakes, Verb.CYCLE: [node for node in good if node not in wakes]}
        tries = dict(batch)
        for verb, chosen in by_verb.items():
            if not chosen:
                continue
            for outcome in self.power.carry_out(chosen, Request(verb, stagger=stagger), lambda _outcome: None):
                node = outcome.node
                until = self._goal(node)
                run = Run(node, self.rack.nodes[node].mac, until, begun, tries[node])
                found.append(run if outcome.ok else outcome)
        return found

    def _goal(self, node: str) -> Stage:
        """The last stage that it tells of: by its system, and by a source of the user's that tells when it joined."""
        one = self.rack.nodes[node]
        files = list((self.folder.served / "current" / "http" / "config").rglob(f"*{hyphenate(one.mac)}*"))
        for file in files:
            with suppress(OSError):
                if file.is_file() and _JOINED in file.read_bytes():
                    return Stage.JOINED
        os = self.rack.os_of(one).name
        return last_stage(self.folder.catalog().get(os), os, join_of(self.rack, one), configured=bool(files))

    def _take(self, started: Future[list[Run | Outcome]]) -> None:
        for one in started.result():
            if isinstance(one, Run):
                self.runs[one.node] = one
                self.watch(one, None)
            else:
                self._refuse(one, "power-on")

    def _look(self, timelines: Sequence[Timeline]) -> None:
        now = time.time()
        for node, run in list(self.runs.items()):
            timeline = of_this_start(run, timelines)
            fresh = follow(run, timeline)
            if fresh is not run:
                self.runs[node] = fresh
                self.watch(fresh, timeline)
            ending = judge(fresh, timeline, now)
            if ending is None:
                continue
            del self.runs[node]
            if deserves_retry(ending):
                self.note(f"{node}: {ending.text}; starting it once more")
                self.queue.append((node, ending.tries + 1))
            else:
                self.endings[node] = replace(ending, tries=run.tries)
