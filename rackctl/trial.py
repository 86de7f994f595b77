"""Boots a virtual machine of the lab against the running rack, and follows it until it checked in or is stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters import engine, lab
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.logs import Log, open_logs, read_events
from rackctl.core.catalog import Catalog, Entry
from rackctl.core.dhcp.arch import arch_by_key
from rackctl.core.dhcp.arch import loader_for as loader_for_arch
from rackctl.core.diagnosis import Context, Diagnosis, diagnose
from rackctl.core.events import Event, Stage
from rackctl.core.fold import stage_name
from rackctl.core.model import Rack
from rackctl.core.repeat import find_repeat
from rackctl.core.tftplog import parse_tftp_line
from rackctl.core.timeline import Timeline, fold_events
from rackctl.errors import BootError, ConfigError, ServeError
from rackctl.report import find_context, find_known

# 52:54:00 is QEMU's, so nobody's card.
UNKNOWN_MAC = {"bios": "52:54:00:1a:b0:01", "uefi": "52:54:00:1a:b0:02", "uefi-ia32": "52:54:00:1a:b0:03"}
# Seconds. A virtual machine under TCG on two busy cores takes up to five times its usual: 5 s between two signs of life
# of the discovery OS, 54 s from the kernel of Debian's installer to its first request; other systems are as large.
SILENCE = 45.0
INSTALLER_SILENCE = 300.0
_INSTALLERS = frozenset({"preseed", "autoinstall", "autoyast", "k3os"})  # kinds of config
_SMALL = frozenset({"none", "cloud-config"})
# Times the silence, as long as the machine writes to its console: iPXE tells each per cent of a file, which is logged
# when it has come, and then the kernel starts.
_LIVELY = 4
_TICK = 0.2
_LOGGED = 1.0  # a log line may come this much later than what it tells of

Watch = Callable[[Timeline], None]


class Stuck(BootError):
    """A boot that did not reach its goal. timeline: how far it came, None before its first sign of life."""

    def __init__(
        self, message: str, remedy: str, timeline: Timeline | None = None, diagnoses: Sequence[Diagnosis] = ()
    ) -> None:
        super().__init__(message, "lab", remedy)
        self.timeline = timeline
        self.diagnoses = diagnoses

    def to_json(self) -> dict[str, object]:
        """The timeline as JSON, with a diagnosis as `rackctl timeline --json` has it; the reason alone without one."""
        timeline = {"verdict": "stuck", "reason": self.message} if self.timeline is None else self.timeline.to_json()
        return {**timeline, "diagnosis": [one.to_json() for one in self.diagnoses]}


@dataclass(frozen=True)
class Trial:
    """The end of one boot. console: file of what the machine's serial console showed."""

    timeline: Timeline
    console: Path


def choose_mac(rack: Rack, node: str, os: str, firmware: str) -> str:
    """The MAC of the machine to play: that node, else the first that boots `os`, else an unknown machine."""
    if node:
        if node not in rack.nodes:
            raise ConfigError(f"rack.yml has no node {node!r}", remedy="rackctl nodes lists them")
        return rack.nodes[node].mac
    if not os or rack.os_of(None).name == os:
        return UNKNOWN_MAC[firmware]
    for one in rack.nodes.values():
        if rack.os_of(one).name == os:
            return one.mac
    raise ConfigError(
        f"no machine of this rack boots {os}",
        "rack.yml",
        f"set unknown: boot and os: {{name: {os}, ...}}, or a node's os; rackctl up",
    )


def choose_patience(rack: Rack, mac: str, catalog: Catalog) -> tuple[float, Stage]:
    """Seconds of silence that its OS may take, and the stage that counts as done: of an installer its config.

    There is no disk to install on. What cannot check in ends as `loaded` where it tells no more.
    """
    entry = _entry(rack, mac, catalog)
    installer = entry.config.kind in _INSTALLERS
    patient = installer or (entry.config.kind not in _SMALL and entry.boot == "kernel")
    return INSTALLER_SILENCE if patient else SILENCE, Stage.CONFIG if installer else Stage.CHECKIN


def _entry(rack: Rack, mac: str, catalog: Catalog) -> Entry:
    node = next((one for one in rack.nodes.values() if one.mac == mac), None)
    return catalog.get(rack.os_of(node).name)


def choose_memory(rack: Rack, mac: str, catalog: Catalog) -> int:
    """MiB that the machine with this MAC needs for its OS, and 768 at the least."""
    return max(768, _entry(rack, mac, catalog).min_ram)


def boot_machine(
    folder: RackFolder,
    machine: lab.Machine,
    image: str,
    watch: Watch,
    silence: float = SILENCE,
    until: Stage = Stage.CHECKIN,
) -> Trial:
    """Power the machine on and follow it until that stage is reached, or the last that its system tells of.

    image: the lab's. watch is called with each new state of the timeline. silence: seconds without a sign of life after
    which it counts as stuck; so does a machine that goes round.

    Raises Stuck, which names the failed stage with the last lines of the console, and EngineError.
    """
    logs = open_logs(folder.logs, from_end=True)
    rack = folder.read_rack()
    known = find_known(folder, rack)
    with lab.power_on(machine, image, lab.find_network(), folder.work / "lab") as running:
        logs.append(Log(running.router, parse_tftp_line))
        timeline = _follow(
            logs, running, machine, watch, silence, until, known.settle, lambda: find_context(folder, rack, machine.mac)
        )
    return Trial(timeline, running.console)


def _follow(
    logs: list[Log],
    running: lab.Running,
    machine: lab.Machine,
    watch: Watch,
    silence: float,
    until: Stage,
    settle: Callable[[Timeline], Timeline],
    context: Callable[[], Context],
) -> Timeline:
    allowed: dict[Stage, float] = {stage: silence for stage in Stage if stage is not Stage.CHECKIN}
    lively = {**allowed, **dict.fromkeys((Stage.SCRIPT, Stage.KERNEL, Stage.INITRD), silence * _LIVELY)}
    events: list[Event] = []
    seen: tuple[str, ...] = ()
    asked = time.time()
    while True:
        alive, now = running.alive(), time.time()
        events.extend(read_events(logs, machine.server))
        start = running.power_on()
        patience = lively if running.writes(now) else allowed
        found = fold_events(sorted(events, key=lambda e: e.time), now, silence=patience, power_on=start)
        boots = [settle(one) for one in found if one.mac == machine.mac]
        timeline = boots[-1] if boots else None
        if timeline and (names := tuple(stage.name for stage in timeline.stages if stage.ok)) != seen:
            seen = names
            watch(timeline)
        if timeline and (timeline.good or any(one.ok and one.stage >= until for one in timeline.stages)):
            return timeline
        if timeline and (diagnoses := _diagnose(boots, context)):
            missing = next((one.missing for one in reversed(boots) if one.missing is not None), until)
            raise _failed(stage_name(missing), running, timeline, diagnoses)
        if not alive:
            reached = seen[-1] if seen else "power-on"
            raise _failed("lab", running, timeline, text=f"the virtual machine ended after {reached}")
        if timeline is None and now - (start or asked) > silence + _LOGGED:
            text = f"the firmware asked for no address within {silence:.0f} s"
            raise _failed("firmware", running, text=text, remedy="rackctl lab boot again; is the machine overloaded?")
        time.sleep(_TICK)


def _diagnose(boots: list[Timeline], context: Callable[[], Context]) -> tuple[Diagnosis, ...]:
    """Why this machine will not come up, first; empty as long as it may."""
    if boots[-1].verdict == "stuck":
        return diagnose(boots[-1], context())
    repeat = find_repeat(boots, context()) if len(boots) > 1 else None
    return (repeat,) if repeat else ()


def _failed(
    stage: str,
    running: lab.Running,
    timeline: Timeline | None = None,
    diagnoses: Sequence[Diagnosis] = (),
    *,
    text: str = "",
    remedy: str = "",
) -> Stuck:
    lines = [f"stuck before {stage}: {diagnoses[0].seen if diagnoses else f'{text}: {running.complaints()}'}"]
    if diagnoses:
        lines.append(f"usual causes ({diagnoses[0].code}): {diagnoses[0].causes}")
    lines += [f"besides: {one.seen} -> {one.remedy}" for one in diagnoses[1:]]
    if tail := lab.last_lines(running.console):
        lines.append(f"last lines of the console ({running.console}):\n{tail}")
    best = remedy or (diagnoses[0].remedy if diagnoses else "rackctl status")
    return Stuck("\n".join(lines), best, timeline, diagnoses)


def loader_for(folder: RackFolder, firmware: str) -> str:
    """The TFTP file that a router must name for this firmware, from what is served. Raises ServeError."""
    arch = arch_by_key(firmware)
    name = loader_for_arch(arch, folder.loaders()) if arch else None
    if name:
        return name
    raise ServeError("nothing is served", str(folder.path), "rackctl up first")


def require_services(folder: RackFolder) -> None:
    """Raises ServeError when the rack is not up."""
    running = {one.service for one in engine.list_services(folder.project) if one.state == "running"}
    if missing := set(engine.SERVICES) - running:
        raise ServeError(f"not running: {', '.join(sorted(missing))}", str(folder.path), "rackctl up first")
