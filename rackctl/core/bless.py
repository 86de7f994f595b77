"""Core. What to type on a Mac, in which order, so that it netboots next time; and how to undo it.

Sources: bless.8 and modeNetboot.c in Apple's bless-330 (--booter is in the source and not in the manual), Apple's
HT205054 (csrutil netboot), and what Mac admins report of releases. No command here was tried on hardware by rackctl.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rackctl.core.macplan import make_plan
from rackctl.core.macs import netboot_refusal
from rackctl.core.model import Node, Rack

Via = Literal["bsdp", "tftp"]
_FOREIGN = "rack.yml runs no responder: your DHCP server must answer Macs; DHCP-SERVER is its address"
_FIRST = (10, 4, 5)  # the first Mac OS X whose bless knows --netboot on EFI
_SIP = (10, 11)  # System Integrity Protection guards the boot variables from here on
_ANY = "255.255.255.255"  # modeNetboot.c: whichever BSDP server answers
_UNPROVEN = (10, 15)  # Apple took NetInstall's tools away; nobody showed that bless --netboot still works
_VERSION = re.compile(r"\d{1,4}(?:\.\d{1,4}){0,3}", re.ASCII)

# What a Mac is asked before anything is changed; each line of the answer is KEY=VALUE. Plain sh: ssh runs any shell.
GATHER = r"""
echo "macos=$(sw_vers -productVersion)"
echo "model=$(sysctl -n hw.model)"
echo "efi=$(ioreg -l -p IODeviceTree 2>/dev/null | sed -n 's/.*firmware-abi.*\(EFI[0-9][0-9]\).*/\1/p' | head -n 1)"
echo "sip=$(csrutil status 2>/dev/null | head -n 1)"
csrutil netboot list 2>/dev/null | sed 's/^/netboot=/'
"""


@dataclass(frozen=True)
class MacFacts:
    """What is known of one Mac; (), "" and None are unknown. allowed: the netboot servers that SIP lets pass."""

    macos: tuple[int, ...] = ()
    model: str = ""
    efi: str = ""
    sip: bool | None = None
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlessPlan:
    """refusal: why there is nothing to do. recovery: commands for Recovery's Terminal, once. commands, undo: for macOS.

    blocked: SIP is known to be in the way as long as `recovery` was not done.
    """

    refusal: str = ""
    recovery: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    undo: tuple[tuple[str, ...], ...] = ()
    undo_recovery: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    blocked: bool = False


def parse_version(text: str) -> tuple[int, ...]:
    """`10.13.6` as (10, 13, 6); () for what is no version."""
    return tuple(int(part) for part in text.split(".")) if _VERSION.fullmatch(text) else ()


def facts_of(node: Node) -> MacFacts:
    """What rack.yml says."""
    return MacFacts(macos=parse_version(node.macos or ""), model=node.mac_model or "")


def parse_facts(text: str) -> MacFacts:
    """The answer to GATHER. What a Mac did not tell stays unknown; nothing raises."""
    pairs = [line.partition("=")[::2] for line in text.splitlines() if "=" in line]
    found: Mapping[str, str] = {key: value.strip() for key, value in pairs if key != "netboot"}
    lists = " ".join(value for key, value in pairs if key == "netboot")
    sip = {"enabled": True, "disabled": False}.get(found.get("sip", "").rpartition(" ")[2].strip("."))
    return MacFacts(
        macos=parse_version(found.get("macos", "")),
        model=found.get("model", "")[:32],
        efi=found.get("efi", "")[:8],
        sip=sip,
        allowed=tuple(re.findall(r"\d+\.\d+\.\d+\.\d+", lists)),
    )


def plan_bless(rack: Rack, node: Node, facts: MacFacts, via: Via, *, nextonly: bool = False) -> BlessPlan:
    """The commands for one Mac. via: ask the BSDP responder, or name the file so that no BSDP is needed."""
    if reason := netboot_refusal(facts.model):
        return BlessPlan(refusal=f"{facts.model}: {reason}")
    if facts.macos and facts.macos < _FIRST:
        return BlessPlan(refusal=f"Mac OS X {_dotted(facts.macos)} cannot: bless --netboot came with {_dotted(_FIRST)}")
    address = rack.server.address
    foreign = via == "bsdp" and not rack.mac.bsdp and rack.dhcp.mode != "server"  # a server that rack.yml does not name
    plan = make_plan(rack)
    if via == "bsdp":
        source = ("--server", f"bsdp://{_ANY if foreign else address}")
    else:
        source = ("--booter", f"tftp://{address}/{plan.file(plan.offers[0], node.efi)}")
    command = ("bless", "--netboot", *source, *(("--nextonly",) if nextonly else ()))
    allowed = bool(facts.allowed) if foreign else address in facts.allowed
    guarded = facts.sip is not False and not (facts.macos and facts.macos < _SIP) and not allowed
    address = "DHCP-SERVER" if foreign else address
    return BlessPlan(
        recovery=(f"csrutil netboot add {address}",) if guarded else (),
        commands=(command,),
        undo=(("bless", "--mount", "/", "--setBoot"),),
        undo_recovery=(f"csrutil netboot remove {address}",) if guarded or facts.allowed else (),
        notes=(*((_FOREIGN,) if foreign else ()), *_notes(node, facts, via, nextonly)),
        blocked=guarded and facts.sip is True,
    )


def _notes(node: Node, facts: MacFacts, via: Via, nextonly: bool) -> Sequence[str]:
    notes = []
    if not facts.macos:
        notes.append("the Recovery step is for OS X 10.11 and later; write macos: to the node, or use --run")
    elif facts.macos >= _UNPROVEN:
        notes.append(
            f"nobody has shown that bless --netboot works on macOS {_dotted(facts.macos)}; the N key needs no OS"
        )
    if via == "tftp":
        notes.append("--booter is in bless's source, not in its manual; --via bsdp is the documented way")
    width = {"EFI32": "ia32", "EFI64": "x86_64"}.get(facts.efi)
    if width and width != node.efi:
        notes.append(
            f"its firmware is {facts.efi}, rack.yml takes it for {node.efi}: write mac_efi: {width} to the node"
        )
    if facts.model and node.mac_model and facts.model != node.mac_model:
        notes.append(f"it says that it is a {facts.model}; rack.yml says {node.mac_model}")
    if nextonly:
        notes.append("for the next start only; after that it boots as before")
    return notes


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
