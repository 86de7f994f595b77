"""Events folded into boots: one Timeline for each boot of each node, with the verdict running, done or stuck.

Feed events in order of time (merge the two logs with `heapq.merge(key=lambda e: e.time)`). TFTP lines know only the IP:
a loader's boot belongs to the MAC that asks for a script from the same IP within WINDOW seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rackctl.core.events import Event, Stage

WINDOW = 120.0
LOOP_COUNT = 3
SCRIPT_GRACE = 2.0  # an unknown node's own script is a 404 and default.ipxe follows at once
RESTARTED = 5.0

# Seconds a boot may be silent after a stage before it counts as stuck. A transfer is logged when it ends, so that
# KERNEL's allowance covers the initrd's download, and INITRD's the system's start and its large files.
SILENCE: Mapping[Stage, float] = MappingProxyType({
    Stage.POWER: 300.0,  # a server's firmware can take minutes
    Stage.DHCP: 60.0,
    Stage.LOADER: 60.0,
    Stage.SCRIPT: 120.0,
    Stage.KERNEL: 300.0,
    Stage.INITRD: 300.0,
    Stage.CONFIG: 900.0,  # installs packages, or a whole system
    Stage.CHECKIN: float("inf"),
})  # fmt: skip


@dataclass(frozen=True)
class StageTime:
    """One stage of a boot. POWER is the firmware: from power-on to the first sign of life."""

    stage: Stage
    start: float
    end: float
    nbytes: int
    ok: bool
    detail: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The stage's name for people and JSON: POWER is called firmware."""
        return stage_name(self.stage)

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"stage": self.name, "start": self.start, "end": self.end, "seconds": round(self.end - self.start, 6),
                "nbytes": self.nbytes, "ok": self.ok, "detail": dict(self.detail)}  # fmt: skip


@dataclass(frozen=True)
class Timeline:
    """One boot of one node. `missing` is the stage that did not come, `stuck_after` the last that did."""

    mac: str | None
    ip: str
    started: float
    stages: tuple[StageTime, ...]
    verdict: str  # "running" | "done" | "stuck"
    stuck_after: Stage | None = None
    missing: Stage | None = None
    reason: str = ""
    remedy: str = ""
    hostname: str = ""
    os: str = ""
    cmdline: str = ""
    firmware: str = ""

    def to_json(self) -> dict[str, object]:
        """A JSON object; stages by their lower-case names."""
        return {
            "mac": self.mac, "ip": self.ip, "started": self.started, "verdict": self.verdict,
            "stages": [s.to_json() for s in self.stages],
            "stuck_after": None if self.stuck_after is None else stage_name(self.stuck_after),
            "missing": None if self.missing is None else stage_name(self.missing),
            "reason": self.reason, "remedy": self.remedy, "hostname": self.hostname, "os": self.os,
            "cmdline": self.cmdline, "firmware": self.firmware,
        }  # fmt: skip


def stage_name(stage: Stage) -> str:
    """The lower-case name; POWER is called firmware."""
    return "firmware" if stage is Stage.POWER else stage.name.lower()


class _Boot:
    """A boot being folded."""

    def __init__(self, event: Event) -> None:
        self.mac, self.ip, self.started = event.mac, event.ip, event.start
        self.last = event.time
        self.reached: Stage | None = None
        self.stages: dict[Stage, StageTime] = {}
        self.failure: Event | None = None
        self.looped = 0
        self.loads: deque[float] = deque(maxlen=LOOP_COUNT)
        self.facts: dict[str, str] = {}
        self.ended: float | None = None  # when the same machine began its next boot

    @property
    def done(self) -> bool:
        return self.reached is Stage.CHECKIN

    @property
    def before_script(self) -> bool:
        """Neither has it its script nor did it ask for one."""
        return not any(stage >= Stage.SCRIPT for stage in self.stages)

    def add(self, event: Event) -> None:
        """One more event of this boot."""
        self.last = max(self.last, event.time)
        self.started = min(self.started, event.start)
        self.mac, self.ip = event.mac or self.mac, event.ip or self.ip
        for key in ("hostname", "os", "cmdline", "platform"):
            if value := event.detail.get(key):
                self.facts[key] = value
        old = self.stages.get(event.stage)
        if old is None or (event.ok and not old.ok):
            start = event.start if old is None else min(old.start, event.start)
            self.stages[event.stage] = StageTime(event.stage, start, event.time, event.nbytes, event.ok, event.detail)
        elif event.stage is not Stage.CHECKIN and event.ok >= old.ok:  # the first check-in is the end of a boot
            nbytes = old.nbytes + event.nbytes
            start, end = min(old.start, event.start), max(old.end, event.time)
            self.stages[event.stage] = StageTime(event.stage, start, end, nbytes, old.ok, event.detail)
        if event.ok:
            self.reached = max(event.stage, self.reached or event.stage)
            if self.failure and self.failure.stage <= event.stage:
                self.failure = None
        elif event.detail.get("problem") != "interrupted" and not self.done:
            self.failure = event
        if event.stage is Stage.LOADER and event.ok:
            self.loads.append(event.time)
            if len(self.loads) == LOOP_COUNT and self.loads[-1] - self.loads[0] <= WINDOW:
                self.looped += 1

    def absorb(self, other: _Boot) -> None:
        """Take in the DHCP stage that was seen before the IP was known."""
        self.started = min(self.started, other.started)
        for stage, timed in other.stages.items():
            self.stages.setdefault(stage, timed)


class _Fold:
    """The boots so far, and who is at which address."""

    def __init__(self, power_on: float | None) -> None:
        self.power_on = power_on
        self.boots: dict[int, _Boot] = {}
        self.by_mac: dict[str, _Boot] = {}
        self.by_ip: dict[str, _Boot] = {}

    def feed(self, event: Event) -> None:
        boot = self._find(event)
        if boot is None and event.mac and event.stage is Stage.DHCP and self._idle_dhcp(event):
            return
        if boot is None:
            boot = _Boot(event)
            self.boots[id(boot)] = boot
            if event.mac is None and event.ip:
                self._guess(boot, event)
        boot.add(event)
        if boot.ip:
            self.by_ip[boot.ip] = boot
        if boot.mac:
            self._own(boot, boot.mac, event)

    def _guess(self, boot: _Boot, event: Event) -> None:
        """Until a script says better, an address is still that of the machine that had it last."""
        old = self.by_ip.get(event.ip)
        boot.mac = old.mac if old else None

    def _own(self, boot: _Boot, mac: str, event: Event) -> None:
        old = self.by_mac.get(mac)
        if old is boot:
            return
        if old is not None and old.ended is None:
            if set(old.stages) <= {Stage.DHCP} and boot.started - old.last <= WINDOW and self._same_power(old, event):
                boot.absorb(old)
                self.boots.pop(id(old), None)
            else:
                old.ended = boot.started
        self.by_mac[mac] = boot

    def _same_power(self, boot: _Boot, event: Event) -> bool:
        return self.power_on is None or not boot.started < self.power_on <= event.start

    def _idle_dhcp(self, event: Event) -> bool:
        """The DHCP of a running system or installer, not of a new boot."""
        old = self.by_mac.get(event.mac or "")
        return old is not None and not old.before_script and event.detail.get("kind") != "PXE"

    def _find(self, event: Event) -> _Boot | None:
        """The open boot that the event belongs to, or None for a new one."""
        mine, here = self.by_mac.get(event.mac or ""), self.by_ip.get(event.ip) if event.ip else None
        if event.stage is Stage.DHCP:
            found = mine if mine and (mine.before_script or mine.reached is Stage.SCRIPT) else None
            if mine and found and found.reached is Stage.SCRIPT and event.detail.get("kind") == "PXE":
                found = None
            fresh = found is not None and event.start - found.last <= WINDOW
            found = found if fresh else None
        elif event.stage is Stage.LOADER:
            found = here if here and here.before_script and event.start - here.last <= WINDOW else None
        elif event.stage is Stage.SCRIPT:
            found = self._for_script(event, mine, here)
        else:
            found = mine or (here if event.mac is None or (here and here.mac in (None, event.mac)) else None)
            if found and found.done and self._is_new(found, event):
                found = None
        return found if found is None or self._same_power(found, event) else None

    def _for_script(self, event: Event, mine: _Boot | None, here: _Boot | None) -> _Boot | None:
        if here and here.before_script and event.start - here.last <= WINDOW:
            return here  # its mac was at most a guess
        if mine is None and event.mac is None:
            mine = here
        early = mine is not None and (mine.before_script or max(mine.stages) is Stage.SCRIPT)
        return mine if mine and early and event.start - mine.last <= WINDOW else None

    @staticmethod
    def _is_new(boot: _Boot, event: Event) -> bool:
        """After the check-in: a kernel, or a system that started later than that check-in (a boot from disk)."""
        if event.stage is not Stage.CHECKIN:
            return event.stage is Stage.KERNEL
        try:
            up_since = event.time - float(event.detail.get("uptime", "inf"))
        except ValueError:
            return False
        return up_since > boot.stages[Stage.CHECKIN].end + RESTARTED


def fold_events(
    events: Iterable[Event], now: float, *, silence: Mapping[Stage, float] | None = None, power_on: float | None = None
) -> list[Timeline]:
    """Every boot in the events, the earliest first. `silence` overrides single stages of SILENCE.

    `power_on` is when the machine was started: each first boot after it gets a POWER stage ("firmware") until its
    first sign of life. A node that asked for nothing has no Timeline.
    """
    fold = _Fold(power_on)
    for event in events:
        fold.feed(event)
    allowed = {**SILENCE, **(silence or {})}
    boots = sorted(fold.boots.values(), key=lambda b: b.started)
    powered: set[str] = set()
    found = []
    for boot in boots:
        who = boot.mac or boot.ip
        if power_on is not None and boot.started >= power_on and who not in powered:
            powered.add(who)
            boot.stages[Stage.POWER] = StageTime(Stage.POWER, power_on, boot.started, 0, True)
            boot.started = power_on
        found.append(_judge(boot, now, allowed))
    return found


def latest_by_mac(timelines: Iterable[Timeline]) -> dict[str, Timeline]:
    """The last boot of each node."""
    return {t.mac: t for t in timelines if t.mac}


def _judge(boot: _Boot, now: float, allowed: Mapping[Stage, float]) -> Timeline:
    verdict, missing, reason = _verdict(boot, min(now, boot.ended) if boot.ended is not None else now, allowed)
    before = [s.stage for s in boot.stages.values() if s.ok and (missing is None or s.stage < missing)]
    stuck = verdict == "stuck"
    return Timeline(
        mac=boot.mac, ip=boot.ip, started=boot.started, stages=tuple(boot.stages[s] for s in sorted(boot.stages)),
        verdict=verdict, stuck_after=max(before, default=None) if stuck else None, missing=missing, reason=reason,
        remedy=HELP[missing][1] if missing is not None else "", hostname=boot.facts.get("hostname", ""),
        os=boot.facts.get("os", ""), cmdline=boot.facts.get("cmdline", ""), firmware=boot.facts.get("platform", ""),
    )  # fmt: skip


def _verdict(boot: _Boot, now: float, allowed: Mapping[Stage, float]) -> tuple[str, Stage | None, str]:
    if boot.done:
        return "done", None, ""
    failure = boot.failure
    if failure and (failure.stage is not Stage.SCRIPT or now - failure.time > SCRIPT_GRACE or boot.ended is not None):
        return "stuck", failure.stage, _failure_reason(failure)
    if boot.looped and boot.before_script:
        text = f"the loader was fetched {boot.looped + LOOP_COUNT - 1} times and no script was asked for: a loop"
        return "stuck", Stage.SCRIPT, text
    reached = boot.reached
    missing = Stage.LOADER if reached is None else Stage(min(reached + 1, Stage.CHECKIN))
    limit = allowed[Stage.LOADER if reached is None else reached]
    after = "a transfer that did not finish" if reached is None else stage_name(reached)
    if boot.ended is not None:
        return "stuck", missing, f"after {after} the machine started again, {stage_name(missing)} never came"
    if now - boot.last > limit:
        return "stuck", missing, f"silent for {now - boot.last:.0f} s after {after} ({limit:.0f} s are allowed)"
    return "running", None, ""


def _failure_reason(event: Event) -> str:
    detail = event.detail
    problem, what = detail.get("problem", ""), detail.get("uri") or detail.get("file", "")
    if problem == "aborted":
        return f"the transfer of {what} was cut off" + (f" at {detail['percent']} %" if "percent" in detail else "")
    if problem == "status":
        return f"{what} was answered with HTTP {detail.get('status', '?')}"
    if problem == "not-found":
        return f"the TFTP server has no file {what}"
    if problem == "unreadable":
        return f"the TFTP server cannot read {what}: {detail.get('message', '')}"
    return detail.get("message") or f"{stage_name(event.stage)} failed"


# For each stage that did not come: the usual causes, and what to do.
HELP: Mapping[Stage, tuple[str, str]] = MappingProxyType({
    Stage.POWER: ("no power, or the wrong boot order", "look at the BMC; set the boot order to network first"),
    Stage.DHCP: ("two DHCP servers, or an address already in use", "see that one server alone answers on this network"),
    Stage.LOADER: ("the DHCP answer names a wrong server or file, UDP port 69 is blocked, or the file is not there",
                   "compare the DHCP server's settings with those rackctl prints; run `rackctl up`"),
    Stage.SCRIPT: ("a network card that iPXE cannot drive, a DHCP server that gives iPXE the loader again (a loop), "
                   "the HTTP port blocked, or Secure Boot", "see the machine's screen; open the HTTP port"),
    Stage.KERNEL: ("the OS release is not in the store, or the script says to boot from the local disk",
                   "run `rackctl up`; a node that is to boot from its disk needs nothing"),
    Stage.INITRD: ("too little memory, a cable or switch that loses packets, or a file that is not there",
                   "give the machine more memory (a virtual one 2 GiB); check the link; run `rackctl up`"),
    Stage.CONFIG: ("the kernel panicked, has no driver for the network card, or its command line names another server",
                   "see the machine's console; check the kernel arguments in rack.yml"),
    Stage.CHECKIN: ("the configuration failed in the system, or it is still installing",
                    "read /var/log/cloud-init-output.log or the console of the machine"),
})  # fmt: skip


def explain(timeline: Timeline) -> str:
    """A few lines: how far the boot came, why it stopped, the usual causes, and what to do."""
    who = timeline.hostname or timeline.mac or timeline.ip or "some machine"
    last = max((s.stage for s in timeline.stages if s.ok), default=None)
    if timeline.verdict == "done":
        end = next((s.end for s in timeline.stages if s.stage is Stage.CHECKIN), timeline.started)
        return f"{who}: up {end - timeline.started:.1f} s after it started."
    if timeline.verdict == "running" or timeline.missing is None:
        return f"{who}: booting; so far {last.sentence if last is not None else 'nothing has worked'}."
    after = timeline.stuck_after
    lines = [
        f"{who}: stuck before {stage_name(timeline.missing)}: {timeline.reason}.",
        f"  so far: {after.sentence if after is not None else 'nothing has worked'}",
        f"  usual causes: {HELP[timeline.missing][0]}",
        f"  -> {timeline.remedy}",
    ]
    return "\n".join(lines)
