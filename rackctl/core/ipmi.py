"""Core. The dialogue with one BMC: which ipmitool call comes next, given the replies so far. Starts nothing itself.

A dialogue is a generator: it yields a Call, is sent the Reply, and returns the Outcome. The adapter runs hundreds of
them side by side. Time is what the calls took and what was paused between them.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from rackctl.core.ipmi_text import (
    Reply,
    last_line,
    read_boot_flags,
    read_fault,
    read_pairs,
    read_power,
    read_table,
    says_why,
)
from rackctl.core.power import GOAL, Fault, Order, Outcome, Verb
from rackctl.errors import ConfigError

PASSWORD_MAX = 20  # bytes, IPMI 2.0 section 22.30 (Set User Password)
_BUSY_TRIES = 3
_BUSY_PAUSE = 2.0
_CYCLE_PAUSE = 2.0  # a cycle holds the power off for one second at the least (section 28.3)
_POLLS = (0.5, 1.0, 1.0, 2.0)  # seconds between looks at the state; the last one repeats
_SENSOR = ("name", "value", "unit", "status", "lnr", "lcr", "lnc", "unc", "ucr", "unr")
_EVENT = ("id", "date", "time", "sensor", "event", "direction", "reading")


@dataclass(frozen=True)
class Call:
    """One ipmitool. words: the command; after: seconds to wait first; timeout: seconds it may take."""

    words: tuple[str, ...]
    cipher: int
    after: float
    timeout: float
    verbose: bool = True
    names: bool = False  # load the registry of manufacturers, 5 MB of text, which most calls can do without


Talk = Generator[Call, Reply, Reply]
Dialogue = Generator[Call, Reply, Outcome]


def check_order(order: Order) -> None:
    """Raises ConfigError for what would make ipmitool ask at a terminal, or break its protocol."""
    if not order.bmc.address:
        raise ConfigError("bmc.address is missing", order.node, "write the BMC's address to rack.yml")
    if not order.password:
        raise ConfigError("it has no password", order.node, "set bmc.password: secrets/FILE in rack.yml")
    if len(order.password.encode()) > PASSWORD_MAX:
        raise ConfigError(
            f"its password has more than {PASSWORD_MAX} bytes, IPMI's limit", order.node, "set a shorter one on the BMC"
        )
    if any(ord(c) < 32 or ord(c) == 127 for c in order.password):
        raise ConfigError("its password holds a control character", order.node, "write one line to the secret's file")


class _Session:
    """The replies so far of one machine: which cipher suite works, how long it took, what to warn of."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.timeout = order.bmc.timeout
        self.cipher = order.bmc.cipher or order.cipher_hint or 17
        self.settled = order.bmc.cipher is not None
        self.opened = False
        self.elapsed = 0.0
        self.warnings: list[str] = []
        self.first = True

    def ask(self, *words: str, after: float = 0.0, verbose: bool = True, names: bool = False) -> Talk:
        """One question; asked again only when no session was opened, so that nothing is ever done twice."""
        after += self.order.delay if self.first else 0.0
        self.first = False
        for _ in range(_BUSY_TRIES):
            reply = yield from self._once(words, after, verbose, names)
            if not says_why(reply) and not verbose:
                probe = yield from self._once(("chassis", "power", "status"), 0.0, True, False)
                reply = reply if probe.rc == 0 and not probe.late else replace(probe, seconds=reply.seconds)
            found = read_fault(reply, self.timeout)
            if found and found[0] is Fault.CIPHER and not self.settled:
                self._fall_back()
                after = 0.0
                continue
            if found and found[0] is Fault.BUSY:
                after = _BUSY_PAUSE
                continue
            self.opened = self.opened or found is None
            return reply
        return reply

    def _fall_back(self) -> None:
        self.cipher, self.settled = (3 if self.cipher == 17 else 17), True
        if self.cipher == 3:
            self.warnings.append("the BMC refuses cipher suite 17: the weaker 3 is used, and tried first from now on")

    def _once(self, words: tuple[str, ...], after: float, verbose: bool, names: bool) -> Talk:
        reply = yield Call(words, self.cipher, after, self.timeout, verbose, names)
        self.elapsed += after + reply.seconds
        return reply

    def end(self, state: str = "", text: str = "", **more: object) -> Outcome:
        seconds = max(0.0, self.elapsed - self.order.delay)
        found = Outcome(self.order.node, self.order.verb, "ipmi", state, text, seconds=seconds)
        cipher = self.cipher if self.opened else None
        return replace(found, warnings=tuple(self.warnings), cipher=cipher, **more)  # type: ignore[arg-type]

    def fail(self, reply: Reply, state: str = "") -> Outcome:
        fault, text = read_fault(reply, self.timeout) or (Fault.REFUSED, last_line(reply.err or reply.out))
        return self.end(state, text, fault=fault)


def hold_dialogue(order: Order) -> Dialogue:
    """The calls that carry out one order."""
    session = _Session(order)
    if order.verb is Verb.STATUS:
        reply = yield from session.ask("chassis", "power", "status")
        state = read_power(reply.out)
        return session.end(state) if state and reply.rc == 0 else session.fail(reply)
    if order.verb in GOAL:
        return (yield from _change_power(session))
    if order.verb is Verb.BOOTDEV:
        return (yield from _set_boot_device(session))
    if order.verb is Verb.CHECK:
        return (yield from _check(session))
    return (yield from _read_rows(session))


def _change_power(session: _Session) -> Dialogue:
    verb, goal = session.order.verb, GOAL[session.order.verb]
    reply = yield from session.ask("chassis", "power", "status")
    before = read_power(reply.out)
    if reply.rc or reply.late or not before:
        return session.fail(reply)
    if before == goal and verb in (Verb.ON, Verb.OFF, Verb.SOFT):
        return session.end(before, f"already {before}")
    if before == "off" and verb is Verb.RESET:
        return session.end(before, "the machine is off: power on starts it", fault=Fault.REFUSED)
    sent = "on" if before == "off" else verb.value
    if sent != verb.value:
        session.warnings.append("it was off: switched on instead of cycled, which some BMCs refuse")
    reply = yield from session.ask("chassis", "power", sent)
    found = read_fault(reply, session.timeout)
    if found and found[0] is Fault.TIMEOUT:
        # It may have acted: only the state tells, and nothing is sent again.
        look = yield from session.ask("chassis", "power", "status")
        state = read_power(look.out)
        if state == goal and verb not in (Verb.CYCLE, Verb.RESET):
            session.warnings.append(f"no answer to {sent} within {session.timeout:g} s, but it is {state}")
            return session.end(state)
        return session.fail(reply, state)
    if found or "Chassis Power Control:" not in reply.out:
        return session.fail(reply, before)
    return (yield from _await_state(session, goal, _CYCLE_PAUSE if sent in ("cycle", "reset") else 0.0))


def _await_state(session: _Session, goal: str, pause: float) -> Dialogue:
    """Accepted is not done. A BMC that does not answer meanwhile may be restarting: only the time limit ends this."""
    started, polls, state, reply = session.elapsed, 0, "", None
    wait = session.order.bmc.wait
    while True:
        reply = yield from session.ask("chassis", "power", "status", after=pause)
        state = read_power(reply.out) or state
        if read_power(reply.out) == goal:
            return session.end(goal)
        spent = session.elapsed - started
        if spent >= wait:
            break
        pause = min(_POLLS[min(polls, len(_POLLS) - 1)], wait - spent)
        polls += 1
    if reply.rc or reply.late:
        return session.fail(reply, state)
    return session.end(state, f"still {state} after {spent:.0f} s", fault=Fault.IGNORED)


def _set_boot_device(session: _Session) -> Dialogue:
    order = session.order
    # One word for both: ipmitool reads the first options= alone.
    options = [*(["persistent"] if order.persistent else []), *(["efiboot"] if order.efi else [])]
    words = ("chassis", "bootdev", order.device, *([f"options={','.join(options)}"] if options else []))
    reply = yield from session.ask(*words)
    if read_fault(reply, session.timeout):
        return session.fail(reply)
    if f"Set Boot Device to {order.device}" not in reply.out:
        return session.end("", last_line(reply.err) or "the BMC did not take it", fault=Fault.UNSUPPORTED)
    reply = yield from session.ask("chassis", "bootparam", "get", "5")
    flags = read_boot_flags(reply.out)
    if flags is None:
        session.warnings.append(f"the BMC took it but does not tell: {last_line(reply.err) or 'no answer'}")
        return session.end("", order.device)
    if flags.device != order.device:
        text = f"asked for {order.device}, the BMC says {flags.device}"
        return session.end("", text, fault=Fault.IGNORED)
    for name, wanted, is_so in (
        ("kept for every boot", order.persistent, flags.persistent),
        ("for UEFI", bool(order.efi), flags.efi),
        ("marked as valid", True, flags.valid),
    ):
        if wanted != is_so:
            session.warnings.append(f"the BMC says that it is {'not ' if wanted else ''}{name}")
    return session.end("", order.device)


def _read_rows(session: _Session) -> Dialogue:
    verb = session.order.verb
    if verb is Verb.SEL_CLEAR:
        reply = yield from session.ask("sel", "clear", verbose=False)
        if read_fault(reply, session.timeout):
            return session.fail(reply)
        return session.end("", last_line(reply.out) or "cleared")
    words, columns = (("sensor",), _SENSOR) if verb is Verb.SENSORS else (("sel", "elist"), _EVENT)
    reply = yield from session.ask(*words, verbose=False)
    rows = read_table(reply.out, columns)
    if read_fault(reply, session.timeout):
        return session.fail(reply)
    # `sensor` exits 0 with nothing on stdout when the BMC's sensor repository cannot be read.
    if not rows and verb is Verb.SENSORS:
        text = "no sensors: " + (last_line(reply.err) or "the BMC lists none")
        return session.end("", text, fault=Fault.UNSUPPORTED)
    return session.end("", f"{len(rows)} {'sensors' if verb is Verb.SENSORS else 'events'}", rows=rows)


def _check(session: _Session) -> Dialogue:
    reply = yield from session.ask("mc", "info", verbose=True, names=True)
    if read_fault(reply, session.timeout):
        return session.fail(reply)
    info = read_pairs(reply.out)
    facts = {"cipher suite": str(session.cipher), "answers in": f"{reply.seconds:.2f} s"}
    facts |= {
        ours: info[theirs]
        for ours, theirs in (
            ("firmware", "Firmware Revision"), ("IPMI", "IPMI Version"),
            ("manufacturer", "Manufacturer Name"), ("product", "Product Name"),
        )
        if theirs in info
    }  # fmt: skip
    reply = yield from session.ask("lan", "print", verbose=False)
    lan = read_pairs(reply.out)
    wanted = ("IP Address Source", "IP Address", "Subnet Mask", "MAC Address", "Default Gateway IP", "802.1q VLAN ID",
              "RMCP+ Cipher Suites")  # fmt: skip
    facts |= {f"LAN: {key}": lan[key] for key in wanted if key in lan}
    if not lan:
        session.warnings.append(f"its LAN settings cannot be read: {last_line(reply.err) or 'no answer'}")
    reply = yield from session.ask("chassis", "power", "status")
    return session.end(read_power(reply.out), facts.get("manufacturer", ""), facts=facts)
