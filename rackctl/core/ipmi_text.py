"""Core. What ipmitool 1.8.19 prints, read. Its exit code proves little: bootdev and sensor exit 0 when they fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rackctl.core.power import Fault

GENERIC = "Unable to establish IPMI v2 / RMCP+ session"
_LOGGED_IN = ("Discovered IPMB", "Get VSO Capabilities", "Get PICMG")  # with -v: said after the session is open
_NOISE = re.compile(
    r"IANA PEN|^Running Get |^Discovered IPMB|^Invalid completion code received|^Error: " + re.escape(GENERIC)
    + "|^Close Session command failed|^Unable to Get Channel Cipher|^SDRR successfully erased"
)  # fmt: skip

# The first that matches wins. Left: a pattern in stderr; right: what it means for people.
_SIGNS: tuple[tuple[str, Fault, str], ...] = (
    (r"invalid (authentication|integrity|confidentiality) algorithm|is not what we requested|no matching cipher|"
     r"no cipher suite match", Fault.CIPHER, "the BMC refuses this cipher suite"),
    (r"RAKP 2 HMAC is invalid|RAKP 4 message has invalid integrity|password (verification|invalid)",
     Fault.AUTH, "wrong password"),
    (r"unauthorized name|unauthorized GUID|invalid user", Fault.AUTH, "the BMC has no such user"),
    (r"insufficient resources", Fault.BUSY, "the BMC has no session left"),
    # Packets of the login were lost, after which ipmitool goes on as if. No command was sent: it can be asked again.
    (r"no response from RAKP|Set Session Privilege Level to \w+ failed(?!:)",
     Fault.BUSY, "the login was not answered to its end"),
    (r"Insufficient privilege level|Set Session Privilege Level to \w+ failed:|invalid role|"
     r"unauthorized role", Fault.PRIVILEGE, "the user may not do this"),
    (r"Address lookup for .* failed", Fault.UNREACHABLE, "the name cannot be resolved"),
    (r"Get Auth Capabilities error|Get Channel Authentication Capabilities", Fault.UNREACHABLE, "no answer"),
    (r"Node busy|initialization in progress|in update mode", Fault.BUSY, "the BMC is busy"),
    (r"Invalid command|Invalid data field|not supported|Command not supported|Parameter not supported|illegal",
     Fault.UNSUPPORTED, "the BMC does not know this"),
)  # fmt: skip

_DEVICES = MappingProxyType({
    "No override": "none", "Force PXE": "pxe", "Force Boot from default Hard-Drive": "disk",
    "Force Boot into BIOS Setup": "bios",
})  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """How one ipmitool ended. late: its deadline came first; seconds: it ran."""

    rc: int
    out: str
    err: str
    seconds: float = 0.0
    late: bool = False


@dataclass(frozen=True)
class BootFlags:
    """Boot option parameter 5 (IPMI 2.0 section 28.13) as a BMC reads it back."""

    device: str
    valid: bool
    persistent: bool
    efi: bool


def read_fault(reply: Reply, timeout: float) -> tuple[Fault, str] | None:
    """Why a call failed and the words for it, or None for one whose exit code is 0 in time."""
    if reply.late:
        if any(sign in reply.err for sign in _LOGGED_IN):
            return Fault.TIMEOUT, f"it took the login, then gave no answer within {timeout:g} s"
        return Fault.UNREACHABLE, f"no answer within {timeout:g} s"
    if reply.rc == 0:
        return None
    if reply.rc in (126, 127):
        return Fault.LOCAL, reply.err.strip() or "ipmitool cannot be started"
    said = _without_noise(reply.err)
    for pattern, fault, words in _SIGNS:
        if re.search(pattern, said):
            return fault, words if fault in (Fault.AUTH, Fault.CIPHER) else f"{words} ({last_line(reply.err)})"
    if GENERIC in reply.err and any(sign in reply.err for sign in _LOGGED_IN):
        return Fault.TIMEOUT, "it took the login, then went silent"
    return Fault.REFUSED, last_line(reply.err or reply.out) or f"ipmitool ended with {reply.rc}"


def says_why(reply: Reply) -> bool:
    """False for the one line that ipmitool without -v has for a wrong password, a wrong user and a dead host."""
    return reply.late or reply.rc == 0 or any(re.search(pattern, _without_noise(reply.err)) for pattern, _, _ in _SIGNS)


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = _without_noise(text).splitlines()
    return lines[-1].removeprefix("> ") if lines else ""


def _without_noise(text: str) -> str:
    """What is left: with -v a session that works complains of an invalid command too."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip() and not _NOISE.search(line.strip()))


def read_power(out: str) -> str:
    """`on`, `off`, or empty when the line is not there."""
    found = re.search(r"^Chassis Power is (on|off)\b", out, re.MULTILINE)
    return found[1] if found else ""


def read_boot_flags(out: str) -> BootFlags | None:
    """The answer to `chassis bootparam get 5`, or None when it is not one."""
    found = re.search(r"Boot Device Selector : (.+)", out)
    if not found:
        return None
    device = _DEVICES.get(found[1].strip(), found[1].strip())
    return BootFlags(device, "Boot Flag Valid" in out, "all future boots" in out, "BIOS EFI boot" in out)


def read_table(out: str, columns: tuple[str, ...]) -> tuple[Mapping[str, str], ...]:
    """Rows of `a | b | c`; missing cells at the end are empty."""
    rows = []
    for line in out.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 1:
            rows.append(dict(zip(columns, [*cells, *[""] * len(columns)], strict=False)))
    return tuple(rows)


def read_pairs(out: str) -> dict[str, str]:
    """`Key   : value` lines; indented lines that go on with the one before are left out."""
    found = {}
    for line in out.splitlines():
        key, colon, value = line.partition(" : ")
        if colon and key.strip() and not line.startswith(" ") and value.strip():
            found[key.strip()] = value.strip()
    return found
