"""Takes machines from power-off to the check-in: boot device, power, and their boots followed live."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue

from rackctl.adapters.folder import RackFolder
from rackctl.adapters.logs import Log, open_logs, read_events
from rackctl.adapters.workers import workers
from rackctl.core.config.report import last_stage
from rackctl.core.config.resolve import join_of
from rackctl.core.dhcp.arch import Loader
from rackctl.core.events import Event, Stage
from rackctl.core.model import Rack, hyphenate
from rackctl.core.power import Fault, Outcome, Verb
from rackctl.core.provision import Ending, Run, change_loader, deserves_retry, follow, judge, judge_round, of_this_start
from rackctl.core.tftplog import parse_tftp_line
from rackctl.core.timeline import Timeline, fold_events
from rackctl.errors import RackError
from rackctl.power import Power, Request

_TICK = 0.2
_TOGETHER = 2.0  # seconds
_JOINED = b"state=joined"  # in a config that tells when its agent runs
_REHEARSAL = b"/var/lib/rackctl/join.env"  # what has the discovery OS ask the control plane, and tell


@dataclass(frozen=True)
class Options:
    """parallel: machines on their way at a time; stagger: seconds between two; reinstall: as if it never was."""

    parallel: int = 16
    stagger: float = 0.0
    reinstall: bool = False


Watch = Callable[[Run, Timeline | None], None]
# Serves these machines another loader than rack.yml says, beside all that is served; raises RackError.
Serve = Callable[[Mapping[str, Loader]], None]


class Provision:
    """One `rackctl provision`. watch: sees a machine whenever it came further; note: takes lines.

    serve: None where no machine can have a loader of its own.
    """

    def __init__(
        self,
        folder: RackFolder,
        rack: Rack,
        power: Power,
        note: Callable[[str], None],
        watch: Watch,
        serve: Serve | None = None,
    ) -> None:
        self.folder = folder
        self.rack = rack
        self.power = power
        self.note = note
        self.watch = watch
        self.serve = serve
        self.loaders: dict[str, Loader] = {}
        self.starting: dict[str, int] = {}
        self.arrived: SimpleQueue[Run | Outcome] = SimpleQueue()
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
            self._leave()
        return tuple(self.endings[node] for node in nodes), stopped

    def _leave(self) -> None:
        """The end of those that are still on their way."""
        self._take()
        for node, run in self.runs.items():
            stage = run.reached[-1] if run.reached else "power-on"
            text = f"was left as it is, after {stage}; nothing was switched off"
            spent = time.time() - run.powered
            self.endings[node] = Ending(node, "left", spent, "", text, tries=run.tries, loader=run.loader)
        for node in self.starting:
            text = "was being started: its BMC may have been told, or not"
            self.endings[node] = Ending(node, "left", text=text, remedy="rackctl power status tells")
        for node, tries in self.queue:
            text = "was not touched" if tries == 1 else "was left as it is, before its second try"
            self.endings[node] = Ending(node, "left", text=text, tries=max(1, tries - 1))

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
        starting: Future[None] | None = None
        with workers(1) as pool:
            while self.queue or self.runs or starting:
                room = options.parallel - len(self.runs)
                if starting is None and self.queue and room > 0:
                    batch, self.queue = self.queue[:room], self.queue[room:]
                    self.starting = dict(batch)
                    starting = pool.submit(self._start, batch, options.stagger)
                if starting is not None and starting.done():
                    self._take()
                    self._end_start(starting)
                    starting = None
                self._take()
                # Before the logs are read: silence is what they do not tell until then, however long reading takes.
                now = time.time()
                # A log's lines can come later than another's that tell of later things: fold them in order of time.
                fresh = list(read_events(logs, self.rack.server.address))
                events = sorted([*events, *fresh], key=lambda event: event.time) if fresh else events
                self._look(events, now)
                time.sleep(_TICK)

    def _end_start(self, starting: Future[None]) -> None:
        """Machines that could not be started end here; those that are on their way are followed all the same."""
        try:
            starting.result()
        except RackError as wrong:
            for node, tries in self.starting.items():
                self.endings[node] = Ending(
                    node, "failed", 0.0, "power-on", wrong.message, wrong.remedy, tries=tries,
                    loader=self.loaders.get(node),
                )  # fmt: skip
            self.starting = {}

    def _start(self, batch: Sequence[tuple[str, int]], stagger: float) -> None:
        """Boot device, then power. What a machine cannot do of the first is told, and it is started all the same."""
        names = [node for node, _ in batch]
        self._serve_loaders(names)
        outcomes = self.power.carry_out(names, Request(Verb.BOOTDEV, device="pxe"), lambda _outcome: None)
        for one in outcomes:
            if not one.ok and one.fault is not Fault.UNSUPPORTED:
                self.arrived.put(one)
            elif one.fault is Fault.UNSUPPORTED:
                self.note(f"{one.node}: no boot device ({one.text}): the network must be first in its boot order")
        good = [one.node for one in outcomes if one.ok or one.fault is Fault.UNSUPPORTED]
        tries = dict(batch)
        # Wake-on-LAN can only switch on.
        wakes = [one.node for one in outcomes if one.driver == "wol"]
        by_verb = {Verb.ON: wakes, Verb.CYCLE: [node for node in good if node not in wakes]}
        for verb, chosen in by_verb.items():
            if chosen:
                self._switch(verb, chosen, tries, stagger)

    def _switch(self, verb: Verb, nodes: Sequence[str], tries: Mapping[str, int], stagger: float) -> None:
        begun = time.time()

        def note(outcome: Outcome) -> None:
            # From when its power was asked for: a busy master may read the BMC's answer when the machine is on its way.
            asked = begun + nodes.index(outcome.node) * stagger
            self.arrived.put(self._run_of(outcome.node, begun, asked, tries[outcome.node]) if outcome.ok else outcome)

        self.power.carry_out(nodes, Request(verb, stagger=stagger), note)

    def _run_of(self, node: str, begun: float, powered: float, tries: int) -> Run:
        until = self._goal(node)
        # Machines that are started together are folded together, which is cheap; a staggered one by itself.
        since = begun if powered - begun < _TOGETHER else powered
        return Run(node, self.rack.nodes[node].mac, until, powered, tries, since=since, loader=self.loaders.get(node))

    def _serve_loaders(self, names: Sequence[str]) -> None:
        chosen = [node for node in names if node in self.loaders]
        if not chosen or self.serve is None:
            return
        try:
            self.serve(self.loaders)
        except RackError as wrong:
            self.note(f"{', '.join(chosen)}: the other loader cannot be served: {wrong.message}")
            for node in chosen:
                del self.loaders[node]

    def _goal(self, node: str) -> Stage:
        """The last stage that it tells of: by its system, and by a config that tells when it joined."""
        one = self.rack.nodes[node]
        if one.boot == "local":
            return Stage.SCRIPT
        os = self.rack.os_of(one).name
        sign = _REHEARSAL if os == "discovery" else _JOINED
        files = list((self.folder.served / "current" / "http" / "config").rglob(f"*{hyphenate(one.mac)}*"))
        for file in files:
            with suppress(OSError):
                if file.is_file() and sign in file.read_bytes():
                    return Stage.JOINED
        return last_stage(self.folder.catalog().get(os), os, join_of(self.rack, one), configured=bool(files))

    def _take(self) -> None:
        """What the thread that starts machines has to tell."""
        while not self.arrived.empty():
            one = self.arrived.get()
            self.starting.pop(one.node, None)
            if isinstance(one, Run):
                self.runs[one.node] = one
                self.watch(one, None)
            else:
                self._refuse(one, "power-on")

    def _look(self, events: Sequence[Event], now: float) -> None:
        # What came before a start belongs to the boot that it ended, and would be folded into the new one.
        starts = {run.since for run in self.runs.values()}
        folded = {begun: fold_events((e for e in events if e.time >= begun), now) for begun in starts}
        for node, run in list(self.runs.items()):
            boots = of_this_start(run, folded[run.since])
            timeline = boots[-1] if boots else None
            fresh = follow(run, timeline)
            if fresh is not run:
                self.runs[node] = fresh
                self.watch(fresh, timeline)
            ending = judge(fresh, timeline, now) or judge_round(fresh, boots, now)
            if ending is None:
                continue
            del self.runs[node]
            if deserves_retry(ending):
                loader = change_loader(ending, self.rack.nodes[node].loader) if self.serve else None
                if loader:
                    self.loaders[node] = loader
                with_it = f" with the loader {loader}" if loader else ""
                self.note(f"{node}: {ending.text}; starting it once more{with_it}")
                self.queue.append((node, ending.tries + 1))
            else:
                self.endings[node] = replace(ending, tries=run.tries, loader=run.loader)
