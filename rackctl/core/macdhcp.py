"""Core. The Mac classes of ISC dhcpd, dnsmasq and Kea, and the configuration of rackctl's own BSDP responder.

What each expression may rest on was measured with these servers: dhcpd and Kea cannot decode incoming sub-options of
option 43 (only raw bytes match), and answer an INFORM at port 68 whatever port it came from; dnsmasq answers at the
port it came from, matches a hex pattern as a prefix with `*` for any byte, and in `static` mode answers INFORM alone.
"""

from __future__ import annotations

import ipaddress

from rackctl.core import bsdp
from rackctl.core.macplan import MacPlan, Offer
from rackctl.core.macs import IA32_MODELS, Efi

CLASS = "AAPLBSDPC/i386/"  # what every Intel Mac sends, 32-bit and 64-bit EFI alike (BSDPClient.c)
INFORM = 8  # RFC 2132 section 9.6
_DISCOVER = 1
_TWO_BYTES = "*:02:*:*"  # dnsmasq's pattern of any sub-option of two bytes

_WRONG_PORT = (
    "Startup Disk (System Preferences) listens on a port below 1024 and this server answers at 68: it shows no icon",
    "the N key, the Option key and bless work; for Startup Disk set mac: {bsdp: true} in rack.yml",
)
LIMITS: dict[str, tuple[str, ...]] = {
    "isc": (*_WRONG_PORT, "`authoritative;` stands in the subnet: without it dhcpd answers no Mac at all"),
    "dnsmasq": (),
    "kea": (*_WRONG_PORT, "its answers may be shorter than 300 bytes, which no firmware was tried with"),
}


def server_part(address: str) -> bytes:
    """Sub-option 3 as a SELECT has it."""
    return bsdp.encode_part(bsdp.Tag.SERVER_IDENTIFIER, ipaddress.IPv4Address(address).packed)


def image_part(offer: Offer) -> bytes:
    """Sub-option 8 as a SELECT has it."""
    return bsdp.encode_part(bsdp.Tag.SELECTED_IMAGE, offer.image.id.encode())


# ISC dhcpd ---------------------------------------------------------------------------------------------------------


def isc_class(plan: MacPlan) -> str:
    """A class for the top of dhcpd.conf, or for the subnet."""
    body: list[str] = []
    if plan.form in ("simple", "both"):
        offer = plan.offers[0]
        body += [
            f"  if (option dhcp-message-type = {_DISCOVER}) {{",
            "    option dhcp-parameter-request-list 1,3,6,17,43,60;",
            f'    option vendor-class-identifier "{bsdp.VENDOR_CLASS}";',
            f"    option vendor-encapsulated-options {bsdp.colons(bsdp.encode_offer(offer.image.id))};",
            "  }",
            f"  if (option dhcp-message-type != {INFORM}) {{",
            *_indent(_isc_file(plan, offer), 4),
            "  }",
        ]
    if plan.form in ("full", "both"):
        body += _isc_full(plan)
    return "\n".join(
        [
            'class "rackctl-mac" {',
            f'  match if substring (option vendor-class-identifier, 0, {len(CLASS)}) = "{CLASS}";',
            *body,
            "}",
            "",
        ]
    )


def _isc_full(plan: MacPlan) -> list[str]:
    raw = "option vendor-encapsulated-options"
    ours = f"substring ({raw}, 0, 3) = 01:01:02"
    if plan.dhcp:
        # dhcpd cannot search: Apple's client ends with server and image, in this order; the other one costs nothing.
        part = bsdp.colons(server_part(plan.dhcp))
        last = f"substring (suffix ({raw}, 12), 0, 6) = {part} or suffix ({raw}, 6) = {part}"
        ours = f"{ours} and ({last})"
    lines = [
        f"  if (option dhcp-message-type = {INFORM}) {{",
        "    option dhcp-parameter-request-list 60,43;",
        f"    if (substring ({raw}, 0, 3) = 01:01:01) {{",
        f'      option vendor-class-identifier "{bsdp.VENDOR_CLASS}";',
        f"      {raw} {bsdp.colons(plan.list_bytes)};",
        f"    }} elsif ({ours}) {{",
        f'      option vendor-class-identifier "{bsdp.VENDOR_CLASS}";',
    ]
    if len(plan.offers) == 1:
        lines += _indent(_isc_select(plan, plan.offers[0]), 6)
    else:
        word = "if"
        for offer in plan.offers:
            part = bsdp.colons(image_part(offer))
            lines.append(
                f"      {word} (suffix ({raw}, 6) = {part} or substring (suffix ({raw}, 12), 0, 6) = {part}) {{"
            )
            lines += [*_indent(_isc_select(plan, offer), 8)]
            word = "} elsif"
        lines += ["      } else {", f"        {raw} {bsdp.colons(bsdp.encode_failed())};", "      }"]
    return [*lines, "    }", "  }"]


def _isc_select(plan: MacPlan, offer: Offer) -> list[str]:
    chosen = bsdp.colons(bsdp.encode_select(offer.image.id))
    return [f"option vendor-encapsulated-options {chosen};", *_isc_file(plan, offer)]


def _isc_file(plan: MacPlan, offer: Offer) -> list[str]:
    head = [f"next-server {plan.server};"]
    if plan.one_file:
        return [*head, f'filename "{plan.file(offer, "x86_64")}";']
    wanted = [f'option vendor-class-identifier ~= "^{CLASS}({"|".join(IA32_MODELS)})$"']
    wanted += [f"hardware = 1:{mac}" for mac in plan.ia32_macs]
    narrow = " or ".join(wanted)
    for mac in plan.x86_64_macs:
        narrow = f"({narrow}) and not (hardware = 1:{mac})"
    return [
        *head,
        f"if ({narrow}) {{",
        f'  filename "{plan.file(offer, "ia32")}";',
        "} else {",
        f'  filename "{plan.file(offer, "x86_64")}";',
        "}",
    ]


def _indent(lines: list[str], width: int) -> list[str]:
    return [" " * width + line for line in lines]


# dnsmasq -----------------------------------------------------------------------------------------------------------


def dnsmasq_lines(plan: MacPlan) -> str:
    """Lines for the dnsmasq that is the network's DHCP server."""
    ours = _patterns(server_part(plan.dhcp)) if plan.dhcp else ["01:01:02"]
    lines = [*_dnsmasq_widths(plan), "dhcp-match=set:mac-list,43,01:01:01"]
    lines += [f"dhcp-match=set:mac-select,43,{pattern}" for pattern in ours]
    if plan.form in ("simple", "both"):
        only = "tag:mac,tag:!mac-list,tag:!mac-select"
        offer = plan.offers[0]
        lines += [
            f"dhcp-option-force={only},60,{bsdp.VENDOR_CLASS}",
            f"dhcp-option-force={only},43,{bsdp.colons(bsdp.encode_offer(offer.image.id))}",
            *_dnsmasq_boot(plan, offer, only),
        ]
    if plan.form in ("full", "both"):
        lines += [
            f"dhcp-option-force=tag:mac,tag:mac-list,60,{bsdp.VENDOR_CLASS}",
            f"dhcp-option-force=tag:mac,tag:mac-list,43,{bsdp.colons(plan.list_bytes)}",
            f"dhcp-option-force=tag:mac,tag:mac-select,60,{bsdp.VENDOR_CLASS}",
            *_dnsmasq_select(plan, "tag:mac,tag:mac-select", plan.dhcp),
        ]
    return "\n".join([*lines, ""])


def silence_lines() -> str:
    """Lines for a dnsmasq that shall leave the INFORMs of Macs to rackctl's responder.

    Apple's client drops an answer without option 60; some firmware is said to list such a server all the same.
    """
    lines = [
        f"dhcp-vendorclass=set:mac,{CLASS}",
        "dhcp-match=set:mac-inform,43,01:01:*",
        "dhcp-ignore=tag:mac,tag:mac-inform",
    ]
    return "\n".join([*lines, ""])


def responder_conf(plan: MacPlan) -> str:
    """The whole configuration of the `bsdp` container: it answers the INFORMs of Macs, and nothing else at all.

    It may run beside any DHCP server, on the same machine too: the container adds --interface, and sockets of different
    interfaces share port 67. `static` without an end has no address to give, and must never be joined by
    dhcp-authoritative, which would refuse the leases of the network's own server.
    """
    lines = [
        "# BSDP responder: written by rackctl, read by dnsmasq",
        "port=0",
        "bind-dynamic",
        f"dhcp-range={plan.server},static",
        "leasefile-ro",
        "no-ping",
        "log-dhcp",
        "dhcp-option=3",  # no router: dnsmasq would name itself, and a Mac might believe it
        *_dnsmasq_widths(plan),
        "dhcp-match=set:mac-list,43,01:01:01",
        *(f"dhcp-match=set:mac-select,43,{pattern}" for pattern in _patterns(server_part(plan.server))),
        "dhcp-ignore=tag:!mac",
        "dhcp-ignore=tag:!mac-list,tag:!mac-select",
        *_high_ports(),
        *_known_only(plan),
        f"dhcp-option-force=60,{bsdp.VENDOR_CLASS}",
        f"dhcp-option-force=tag:mac-list,43,{bsdp.colons(plan.list_bytes)}",
        *_dnsmasq_select(plan, "tag:mac-select", plan.server),
    ]
    return "\n".join([*lines, ""])


def _high_ports() -> list[str]:
    """Silence for a reply port (sub-option 5) from 1024 on, as BSDP.doc has it: no privileged program asks there.

    A pattern is whole bytes, so the high byte of a good port is each of 00 to 03.
    """
    heads = [":".join(["01:01:*", *[_TWO_BYTES] * before, "05:02"]) for before in range(3)]
    lines = [f"dhcp-match=set:mac-port,43,{head}" for head in heads]
    lines += [f"dhcp-match=set:mac-low-port,43,{head}:{high:02x}" for head in heads for high in range(4)]
    return [*lines, "dhcp-ignore=tag:mac-port,tag:!mac-low-port"]


def _known_only(plan: MacPlan) -> list[str]:
    if plan.known is None:
        return []
    return [*(f"dhcp-mac=set:mac-known,{mac}" for mac in plan.known), "dhcp-ignore=tag:!mac-known"]


def _dnsmasq_widths(plan: MacPlan) -> list[str]:
    lines = [f"dhcp-vendorclass=set:mac,{CLASS}"]
    if plan.one_file:
        return lines
    # Quotes protect the comma. dnsmasq finds the text anywhere in option 60, so the whole of it is given.
    lines += [f'dhcp-vendorclass=set:mac-model32,"{CLASS}{model}"' for model in IA32_MODELS]
    lines += ["tag-if=set:mac32,tag:mac-model32,tag:!mac-is64"]
    lines += [f"dhcp-mac=set:mac32,{mac}" for mac in plan.ia32_macs]
    return lines + [f"dhcp-mac=set:mac-is64,{mac}" for mac in plan.x86_64_macs]


def _dnsmasq_select(plan: MacPlan, base: str, server: str | None) -> list[str]:
    if len(plan.offers) == 1:
        chosen = bsdp.colons(bsdp.encode_select(plan.offers[0].image.id))
        return [f"dhcp-option-force={base},43,{chosen}", *_dnsmasq_boot(plan, plan.offers[0], base)]
    lines: list[str] = []
    for number, offer in enumerate(plan.offers):
        tag = f"mac-image{number}"
        patterns = _patterns(image_part(offer), server_part(server) if server else None)
        lines += [f"dhcp-match=set:{tag},43,{pattern}" for pattern in patterns]
        chosen = bsdp.colons(bsdp.encode_select(offer.image.id))
        lines += [f"dhcp-option-force={base},tag:{tag},43,{chosen}", *_dnsmasq_boot(plan, offer, f"{base},tag:{tag}")]
    none = ",".join(f"tag:!mac-image{number}" for number in range(len(plan.offers)))
    return [*lines, f"dhcp-option-force={base},{none},43,{bsdp.colons(bsdp.encode_failed())}"]


def _dnsmasq_boot(plan: MacPlan, offer: Offer, tags: str) -> list[str]:
    def line(extra: str, efi: Efi) -> str:
        return f"dhcp-boot={tags}{extra},{plan.file(offer, efi)},,{plan.server}"

    return [line("", "x86_64")] if plan.one_file else [line(",tag:mac32", "ia32"), line(",tag:!mac32", "x86_64")]


def _patterns(part: bytes, other: bytes | None = None) -> list[str]:
    """dnsmasq's prefix patterns of a SELECT that has `part` in it (and `other`, when it is known).

    Apple's client sends version, [reply port], server, image. A firmware's order is unknown, so up to two sub-options
    of two bytes (version, port, largest message) may come first, and server and image in either order.
    """
    wanted, spare = bsdp.colons(part), bsdp.colons(other) if other else f"{8 if part[0] == 3 else 3:02x}:04:*:*:*:*"
    found = []
    for before in range(3):
        head = ["01:01:02", *[_TWO_BYTES] * before]
        found.append(":".join([*head, spare, wanted]))
        found.append(":".join([*head, wanted, spare]) if other else ":".join([*head, wanted]))
    return found
