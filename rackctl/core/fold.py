"""Core. Events grouped into boots: whose each event is, and when the next boot of a machine begins.

Feed events in order of time (merge the two logs with `heapq.merge(key=lambda e: e.time)`). TFTP lines know only the IP:
a loader's boot belongs to the MAC that asks for a script from the same IP within WINDOW seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from rackctl.core.events import Event, Stage

WINDOW = 120.0
LOOP_COUNT = 3
AGAIN = 5  # so many addresses without a loader, or scripts without a kernel, within one boot are a circle
RESTARTED = 5.0
LATE = 20.0  # a busy machine writes a line of dnsmasq so much later than what came of it, which nginx dates itself
# A name of the module is found quicker than an enum's member, and these are asked for millions of times.
_DHCP, _LOADER, _SCRIPT, _KERNEL = Stage.DHCP, Stage.LOADER, Stage.SCRIPT, Stage.KERNEL
_CHECKIN, _INVENTORY = Stage.CHECKIN, Stage.INVENTORY
_FACTS = ("hostname", "os", "cmdline", "platform", "state", "clock", "nic", "chip", "buildarch")


class StageTime(NamedTuple):
    """One stage of a boot. POWER is the firmware: from power-on to the first sign of life."""

    stage: Stage
    start: float
    end: float
    nbytes: int
    ok: bool
    detail: Mapping[str, str] = Event._field_defaults["detail"]

    @property
    def name(self) -> str:
        """The stage's name for people and JSON: POWER is called firmware."""
        return stage_name(self.stage)

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"stage": self.name, "start": self.start, "end": self.end, "seconds": round(self.end - self.start, 6),
                "nbytes": self.nbytes, "ok": self.ok, "detail": dict(self.detail)}  # fmt: skip


def stage_name(stage: Stage) -> str:
    """The lower-case name; POWER is called firmware."""
    return "firmware" if stage is Stage.POWER else stage.name.lower()


class Boot:
    """A boot being folded. `cached` is for who judges it: emptied by every further event."""

    __slots__ = (
        "again", "cached", "came", "done", "ended", "facts", "failure", "furthest", "inventory", "ip", "last", "loader",
        "loads", "local", "looped", "mac", "reached", "stages", "started",
    )  # fmt: skip

    def __init__(self, event: Event) -> None:
        self.mac, self.ip, self.started = event.mac, event.ip, event.start
        self.last = event.time
        self.came = event.time  # the last sign that it goes on, which a loader's further question for an address is not
        self.reached: Stage | None = None  # the furthest stage that came whole
        self.furthest = Stage.POWER  # the furthest that was tried
        self.done = False  # the system came up
        self.stages: dict[Stage, StageTime] = {}
        self.failure: Event | None = None
        self.looped = 0
        self.again = 0  # how often the furthest stage came once more, where it should come once
        self.loader = ""  # the file that the firmware loaded: a loader may load more, a loop begins with the same again
        self.loads: deque[float] | None = None
        self.facts: dict[str, str] = {}
        self.inventory: float | None = None  # when the machine sent it
        self.local = False  # iPXE handed over to the local disk
        self.ended: float | None = None  # when the same machine began its next boot
        self.cached: object = None

    @property
    def before_script(self) -> bool:
        """Neither has it its script nor did it ask for one."""
        return self.furthest < _SCRIPT

    def add(self, event: Event) -> None:
        """One more event of this boot."""
        time, stage, mac, ip, ok, detail, nbytes, seconds = event
        start = time - seconds
        self.cached = None
        if time > self.last:
            self.last = time
        if time > self.came and (stage is not _DHCP or self.furthest <= _DHCP):
            self.came = time
        if stage is _INVENTORY:
            self.inventory = time
            return
        if start < self.started:
            self.started = start
        if mac:
            self.mac = mac
        if ip:
            self.ip = ip
        if len(detail) > 2:  # a plain transfer has its URI and status alone
            for key in _FACTS:
                if key in detail:
                    self.facts[key] = detail[key]
            if stage is _SCRIPT and detail.get("state") == "local":
                self.local = True
        if stage > self.furthest:
            self.furthest, self.again = stage, 0
            self.stages[stage] = StageTime(stage, start, time, nbytes, ok, detail)
        else:
            self._add_again(event)
        if ok:
            if self.reached is None or stage > self.reached:
                self.reached = stage
                self.done = stage >= _CHECKIN
            if self.failure and self.failure.stage <= stage:
                self.failure = None
            if stage is _LOADER:
                self._count_load(time, detail.get("file", ""))
        elif detail.get("problem") != "interrupted" and not self.done:
            self.failure = event

    def _add_again(self, event: Event) -> None:
        """A stage that was tried before, or that later ones overtook."""
        time, stage, ok, start = event.time, event.stage, event.ok, event.start
        old = self.stages.get(stage)
        if stage <= _LOADER and ok:  # where the line is late: it came before what it led to
            time = min([time, *(one.start for one in self.stages.values() if one.stage > stage)])
            start = min(start, time)
        if stage is self.furthest and ok and (stage is _SCRIPT or event.detail.get("kind") == "DHCPACK"):
            self.again += 1
        if old is None or (ok and not old.ok):
            begun = start if old is None else min(old.start, start)
            self.stages[stage] = StageTime(stage, begun, time, event.nbytes, ok, event.detail)
        elif stage is _DHCP and self.furthest > _DHCP:
            pass  # iPXE asks once more, on its way to the script: the firmware's answer is the stage
        elif stage < _CHECKIN and ok >= old.ok:  # the first check-in is the end of a boot
            nbytes = old.nbytes + event.nbytes
            began, ended = min(old.start, start), max(old.end, time)
            self.stages[stage] = StageTime(stage, began, ended, nbytes, old.ok, event.detail)

    def _count_load(self, time: float, file: str) -> None:
        if self.loads is None:
            self.loads, self.loader = deque(maxlen=LOOP_COUNT), file
        if file != self.loader:
            return
        self.loads.append(time)
        if len(self.loads) == LOOP_COUNT and self.loads[-1] - self.loads[0] <= WINDOW:
            self.looped += 1

    def absorb(self, other: Boot) -> None:
        """Take in the DHCP stage that was seen before the IP was known."""
        self.cached = None
        self.started = min(self.started, other.started)
        for stage, timed in other.stages.items():
            self.stages.setdefault(stage, timed)
            self.furthest = max(self.furthest, stage)


class Fold:
    """The boots so far, and who is at which address. Each event costs the same, however many came before.

    `most` bounds the boots that are kept (None: all), `each` those of one machine: when there are twice as many, the
    oldest go, those of machines that never came up first. Machines in `known` keep their last boot in any case.
    `forgotten` counts what went.
    """

    def __init__(
        self,
        power_on: float | None = None,
        *,
        most: int | None = None,
        each: int = 20,
        known: Collection[str] = (),
    ) -> None:
        self.power_on = power_on
        self.known = frozenset(known)
        self.forgotten = 0
        self._most, self._each = most, each
        self._boots: dict[int, Boot] = {}
        self._by_mac: dict[str, Boot] = {}
        self._by_ip: dict[str, Boot] = {}

    def __iter__(self) -> Iterator[Boot]:
        return iter(self._boots.values())

    def feed(self, event: Event) -> Boot | None:
        """One more event; the boot that it went to, None if it is of no boot."""
        boot = self._find(event)
        if boot is None:
            if event.stage is _INVENTORY or (event.stage is _DHCP and self._idle_dhcp(event)):
                return None
            boot = Boot(event)
            if self._most is not None and len(self._boots) >= 2 * self._most:
                self._forget(self._most)
            self._boots[id(boot)] = boot
            if event.mac is None and event.ip:
                self._guess(boot, event)
        boot.add(event)
        ip, mac = boot.ip, boot.mac
        if ip:
            self._by_ip[ip] = boot
        if mac and self._by_mac.get(mac) is not boot:
            self._own(boot, mac, event)
        return boot

    def _forget(self, most: int) -> None:
        by_machine: dict[str, list[Boot]] = {}
        for boot in self._boots.values():
            by_machine.setdefault(boot.mac or boot.ip, []).append(boot)
        kept: list[Boot] = []
        for boots in by_machine.values():
            kept += sorted(boots, key=lambda b: b.last)[-self._each :]
        alive = {who for who, boots in by_machine.items() if any(b.done for b in boots)}
        last = set(map(id, self._by_mac.values()))
        kept.sort(key=lambda b: (b.mac in self.known and id(b) in last, (b.mac or b.ip) in alive, b.last))
        kept = kept[-most:]
        self.forgotten += len(self._boots) - len(kept)
        self._boots = {id(boot): boot for boot in sorted(kept, key=lambda b: b.started)}
        self._by_mac = {mac: boot for mac, boot in self._by_mac.items() if id(boot) in self._boots}
        self._by_ip = {ip: boot for ip, boot in self._by_ip.items() if id(boot) in self._boots}

    def _guess(self, boot: Boot, event: Event) -> None:
        """Until a script says better, an address is still that of the machine that had it last."""
        old = self._by_ip.get(event.ip)
        boot.mac = old.mac if old else None

    def _own(self, boot: Boot, mac: str, event: Event) -> None:
        old = self._by_mac.get(mac)
        if old is not None and old.ended is None:
            if set(old.stages) <= {_DHCP} and boot.started - old.last <= WINDOW and self._same_power(old, event):
                boot.absorb(old)
                self._boots.pop(id(old), None)
            else:
                old.ended = boot.started
                old.cached = None
        self._by_mac[mac] = boot

    def _same_power(self, boot: Boot, event: Event) -> bool:
        return self.power_on is None or not boot.started < self.power_on <= event.start

    def _idle_dhcp(self, event: Event) -> bool:
        """The DHCP of a running system or installer, not of a new boot."""
        old = self._by_mac.get(event.mac or "")
        return old is not None and not old.before_script and event.detail.get("kind") != "PXE"

    def _find(self, event: Event) -> Boot | None:
        """The open boot that the event belongs to, or None for a new one."""
        stage, who, ip = event.stage, event.mac, event.ip
        mine = self._by_mac.get(who) if who else None
        if stage >= _KERNEL:
            here = None if mine else self._by_ip.get(ip)
            found = mine or (here if who is None or (here and here.mac in (None, who)) else None)
            if found and found.done and _is_new(found, event):
                found = None
        elif stage <= _LOADER and (here := self._overtaken(event)):
            found = here
        elif stage is _DHCP:
            early = mine and (mine.before_script or mine.reached is _SCRIPT)
            found = mine if mine and early and event.start - mine.last <= WINDOW else None
            if found and found.reached is _SCRIPT and event.detail.get("kind") == "PXE":
                found = None
        else:
            here = self._by_ip.get(ip) if ip else None
            if stage is _SCRIPT:
                found = self._for_script(event, mine, here)
            else:
                found = here if here and here.before_script and event.start - here.last <= WINDOW else None
        return found if found is None or self.power_on is None or self._same_power(found, event) else None

    def _overtaken(self, event: Event) -> Boot | None:
        """The boot that has already come further than its DHCP or loader, whose line is late."""
        here = self._by_ip.get(event.ip) if event.ok and event.ip else None
        if here is None or here.ended is not None or event.start - here.last > LATE:
            return None
        if event.stage is _DHCP:
            return here if here.before_script and _DHCP not in here.stages else None
        # A next boot would begin with the same file.
        return None if here.before_script or event.detail.get("file") == here.loader else here

    def _for_script(self, event: Event, mine: Boot | None, here: Boot | None) -> Boot | None:
        if here and here.before_script and event.start - here.last <= WINDOW:
            return here  # its mac was at most a guess
        if mine is None and event.mac is None:
            mine = here
        early = mine is not None and mine.furthest <= _SCRIPT
        return mine if mine and early and event.start - mine.last <= WINDOW else None


def _is_new(boot: Boot, event: Event) -> bool:
    """After the check-in: a kernel, or a system that started later than that check-in (a boot from disk)."""
    if event.stage not in (_CHECKIN, Stage.JOINED):
        return event.stage is _KERNEL
    try:
        up_since = event.time - float(event.detail.get("uptime", "inf"))
    except ValueError:
        return False
    came_up = boot.stages.get(_CHECKIN) or boot.stages[Stage.JOINED]
    return up_since > came_up.end + RESTARTED
