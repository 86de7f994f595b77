"""Core. Why a boot stopped: what was seen, the usual causes, what to do; and what else is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rackctl.core.dhcp.arch import other_loader
from rackctl.core.events import Stage, parse_mac
from rackctl.core.fold import StageTime, stage_name
from rackctl.core.inventory import Inventory
from rackctl.core.nics import FIRMWARE, find_driver, parse_pci
from rackctl.core.timeline import HELP, Timeline

AT_ONCE = 1.0  # seconds; what a busy master and machine need for the first of a file's bytes
CLOCK_OFF = 300.0  # seconds; certificates and signed tokens are refused from there on


@dataclass(frozen=True)
class Context:
    """What is known beyond the logs. inventory: the machine's last; findings: the linter's view of its config, a line
    each; port: the HTTP port of the master.
    """

    inventory: Inventory | None = None
    findings: Sequence[str] = ()
    port: int = 83


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is wrong. code: a stable name for scripts; seen: what the logs say; remedy: what to do."""

    code: str
    seen: str
    causes: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """A JSON object."""
        return asdict(self)


def diagnose(timeline: Timeline, context: Context | None = None) -> tuple[Diagnosis, ...]:
    """Why the boot is stuck, first; then what is wrong besides (a clock that is off). Empty for a good boot."""
    context = context or Context()
    found = []
    if timeline.verdict == "stuck" and timeline.missing is not None:
        found.append(_STUCK.get(timeline.missing, _plain)(timeline, context))
    clock = _clock(timeline)
    return (*found, clock) if clock else tuple(found)


def _plain(timeline: Timeline, _context: Context, code: str = "") -> Diagnosis:
    stage = timeline.missing or Stage.POWER
    return Diagnosis(code or f"no-{stage_name(stage)}", timeline.reason, *HELP[stage])


def _stage(timeline: Timeline, stage: Stage) -> StageTime | None:
    return next((one for one in timeline.stages if one.stage is stage), None)


def _no_loader(timeline: Timeline, context: Context) -> Diagnosis:
    if timeline.problem == "not-found":
        return Diagnosis(
            "loader-not-found", timeline.reason,
            "the DHCP server names a file that is not served: an old name, or one for another firmware",
            "compare option 67 with what `rackctl dhcp` prints; `rackctl up` writes the files again",
        )  # fmt: skip
    if timeline.looped:
        return _plain(timeline, context, "dhcp-loop")
    return _plain(timeline, context)


def _no_script(timeline: Timeline, context: Context) -> Diagnosis:
    loader = _stage(timeline, Stage.LOADER)
    folder, _, name = (loader.detail.get("file", "") if loader else "").rpartition("/")
    # A card that one loader cannot drive, the other often can: the one brings drivers, the other uses the firmware's.
    other = other_loader(name)
    if parse_mac(folder.rpartition("/")[2]):
        instead = "try without its loader: in rack.yml, which gives it another file under this name"
    elif other:
        instead = f"give it loader: {other} in rack.yml instead of {name}, then rackctl up"
    else:
        instead = "try the other loader"
    if timeline.looped:
        return Diagnosis(
            "loader-loop", timeline.reason,
            "a loader that carries no script of rackctl's asks DHCP again and is given itself: a foreign iPXE, or a "
            f"network card that {name or 'the loader'} cannot drive, so that the firmware starts over",
            f"`rackctl up` puts rackctl's own loaders in place; if {name or 'it'} is one of them, {instead}",
        )  # fmt: skip
    if timeline.problem == "status":
        return Diagnosis("script-refused", timeline.reason, "no tree is served", "rackctl status; rackctl up")
    return Diagnosis(
        "loader-but-no-script", timeline.reason,
        f"iPXE cannot use this network card; or TCP port {context.port} of the master is blocked; or Secure Boot "
        "refused the loader (it is then fetched and not run)",
        f"from another machine: curl http://MASTER:{context.port}/healthz. If that answers, {instead}; with Secure "
        "Boot use the signed lane",
    )  # fmt: skip


def _no_kernel(timeline: Timeline, context: Context) -> Diagnosis:
    arch = timeline.facts.get("buildarch", "")
    if timeline.looped:
        return Diagnosis(
            "script-loop", timeline.reason,
            "the script ends, or chains itself, before it asks for a kernel, and the loader tries once more",
            "see the machine's screen; `rackctl explain` shows the script that it is served",
        )  # fmt: skip
    if timeline.problem == "status":
        return Diagnosis(
            "kernel-not-found", timeline.reason, "this OS release is not in the store, or its version was changed",
            "rackctl up fetches it",
        )  # fmt: skip
    if arch.startswith("arm") or timeline.problem == "aborted":
        return Diagnosis(
            "kernel-wrong-arch" if arch.startswith("arm") else "kernel-cut", timeline.reason,
            f"the machine is {arch}, the OS release is x86_64" if arch.startswith("arm") else HELP[Stage.INITRD][0],
            "give the node an OS release of its architecture" if arch.startswith("arm") else HELP[Stage.INITRD][1],
        )  # fmt: skip
    return _plain(timeline, context, "script-but-no-kernel")


def _no_initrd(timeline: Timeline, context: Context) -> Diagnosis:
    initrd, kernel = _stage(timeline, Stage.INITRD), _stage(timeline, Stage.KERNEL)
    if timeline.problem == "aborted" and initrd:
        got = (initrd.nbytes + (kernel.nbytes if kernel else 0)) / 2**20
        if initrd.detail.get("percent") == "0" and initrd.end - initrd.start < AT_ONCE:
            return Diagnosis(
                "initrd-cut", timeline.reason,
                "it is more than this machine's memory takes: iPXE looks at its length first and gives up at once",
                "give the machine more memory; a virtual one 2 GiB",
            )  # fmt: skip
        return Diagnosis(
            "initrd-cut", timeline.reason,
            f"too little memory (kernel and initrd are held in memory and unpacked there; {got:.0f} MiB had come), or "
            "a cable or switch that loses packets",
            "give the machine more memory (a virtual one 2 GiB); at the same per cent each time it is memory, else the "
            "link: try another cable and port",
        )  # fmt: skip
    if timeline.problem == "status":
        return Diagnosis("initrd-not-found", timeline.reason, "a file of this OS release is missing", "rackctl up")
    return Diagnosis(
        "kernel-refused", timeline.reason,
        "iPXE fetched the kernel and did not take it: for another architecture, no kernel at all, or not signed under "
        "Secure Boot",
        "see the machine's screen (\"Exec format error\"); does the OS release fit "
        f"{timeline.firmware or 'the machine'} {timeline.facts.get('buildarch', '')}?",
    )  # fmt: skip


def _no_config(timeline: Timeline, context: Context) -> Diagnosis:
    card, driver = _find_card(timeline, context)
    causes = "the kernel panicked, or its command line names another server"
    remedy = "see the machine's console; check kernel_args in rack.yml"
    if card and driver is None:
        causes = f"the network card {card} has no driver in Debian's kernel; {causes}"
        remedy = f"look {card} up in the kernel's drivers; use another card; {remedy}"
    elif card and driver:
        firmware = FIRMWARE.get(driver)
        # Nobody looked into the initrd: only of the discovery OS a machine told which of its cards have no driver.
        told = context.inventory is not None and card in context.inventory.undriven
        lacks = "the discovery OS has no driver" if told else "the initrd may lack the driver"
        note = f"{driver}, or its firmware: {firmware.note}" if firmware else driver
        causes = f"{lacks} of the network card {card} ({note}); {causes}"
        package = f"initrd_overlays: [{{package: {firmware.package}}}]" if firmware else ""
        needed = f" and its firmware ({package} in rack.yml)" if firmware else ""
        remedy = f"the initrd must hold the module {driver}{needed}; else {remedy}"
    return Diagnosis("no-network-in-the-system", timeline.reason, causes, remedy)


def _find_card(timeline: Timeline, context: Context) -> tuple[str, str | None]:
    """PCI id and driver of the card that it boots from: as iPXE said, else as the inventory has it."""
    inventory = context.inventory
    nic = inventory.nic(timeline.mac) if inventory else None
    said = parse_pci(timeline.facts.get("nic", ""))
    undriven = inventory.undriven[0] if inventory and inventory.undriven else ""
    card = said or (nic.pci if nic else "") or undriven
    return card, find_driver(card) if card else None


def _no_checkin(timeline: Timeline, context: Context) -> Diagnosis:
    causes, remedy = HELP[Stage.CHECKIN]
    if context.findings:
        shown = "; ".join(context.findings[:3])
        return Diagnosis("config-faulty", timeline.reason, f"its config has faults: {shown}", "rackctl lint; mend it")
    return Diagnosis("config-but-no-checkin", timeline.reason, causes, remedy)


def _clock(timeline: Timeline) -> Diagnosis | None:
    """The machine's clock as it said at its script or check-in, against the time of that log line."""
    for stage in timeline.stages:
        said = stage.detail.get("clock", "")
        if said.isascii() and said.isdigit() and len(said) < 12 and abs(int(said) - stage.end) > CLOCK_OFF:
            off = int(said) - stage.end
            way = "ahead" if off > 0 else "behind"
            days = abs(off) / 86400
            much = f"{days:.0f} days" if days >= 2 else f"{abs(off):.0f} s"
            return Diagnosis(
                "clock-wrong", f"the machine's clock is {much} {way}",
                "an empty CMOS battery, or a BMC or firmware that was never set: TLS then fails with certificates "
                "that are not valid yet or any more",
                "set the clock in the firmware's setup, or run NTP early (chrony, `ntp:` in the cloud-config)",
            )  # fmt: skip
    return None


_STUCK = {
    Stage.LOADER: _no_loader, Stage.SCRIPT: _no_script, Stage.KERNEL: _no_kernel, Stage.INITRD: _no_initrd,
    Stage.CONFIG: _no_config, Stage.CHECKIN: _no_checkin,
}  # fmt: skip


def explain(timeline: Timeline, context: Context | None = None) -> str:
    """A few lines: how far the boot came, why it stopped, the usual causes, and what to do."""
    who = timeline.hostname or timeline.mac or timeline.ip or "some machine"
    found = diagnose(timeline, context)
    lines = []
    if timeline.verdict == "done":
        by_disk = not any(s.stage >= Stage.CHECKIN for s in timeline.stages)
        lines.append(
            f"{who}: {'handed to its own disk' if by_disk else 'up'} {timeline.seconds:.1f} s after it started."
        )
    elif timeline.verdict == "loaded":
        lines.append(f"{who}: loaded {timeline.seconds:.1f} s after it started; its system tells no more.")
    elif timeline.verdict == "running" or timeline.missing is None:
        last = max((s.stage for s in timeline.stages if s.ok), default=None)
        lines.append(f"{who}: booting; so far {last.sentence if last is not None else 'nothing has worked'}.")
    else:
        after = timeline.stuck_after
        lines += [
            f"{who}: stuck before {stage_name(timeline.missing)}: {timeline.reason}.",
            f"  so far: {after.sentence if after is not None else 'nothing has worked'}",
        ]
    for number, one in enumerate(found):
        if number or timeline.verdict != "stuck":
            lines.append(f"  besides: {one.seen}")
        lines += [f"  usual causes: {one.causes}", f"  -> {one.remedy}"]
    return "\n".join(lines)
