"""Core. The Mac classes of Kea's Dhcp4, as the objects that its JSON configuration holds."""

from __future__ import annotations

from rackctl.core import bsdp
from rackctl.core.macdhcp import CLASS, INFORM, image_part, server_part
from rackctl.core.macplan import MacPlan, Offer
from rackctl.core.macs import IA32_MODELS, Efi

_RAW = "option[43].hex"  # Kea does not decode the incoming sub-options of 43: only the bytes match
Class = dict[str, object]


def kea_classes(plan: MacPlan) -> list[Class]:
    """Entries for `client-classes` of Dhcp4; each may refer to those before it."""
    classes: list[Class] = [{"name": "rackctl-mac", "test": f"substring(option[60].hex,0,{len(CLASS)}) == '{CLASS}'"}]
    if not plan.one_file:
        classes.append({"name": "rackctl-mac32", "test": f"member('rackctl-mac') and ({_narrow(plan)})"})
    if plan.form in ("simple", "both"):
        offer = plan.offers[0]
        test = f"member('rackctl-mac') and not (pkt4.msgtype == {INFORM})"
        classes += _answers(plan, offer, "rackctl-mac-offer", test, bsdp.encode_offer(offer.image.id))
    if plan.form in ("full", "both"):
        classes += _full(plan)
    return classes


def _narrow(plan: MacPlan) -> str:
    models = [f"option[60].hex == '{CLASS}{model}'" for model in IA32_MODELS]
    narrow = " or ".join([*models, *(f"pkt4.mac == {_hex(mac)}" for mac in plan.ia32_macs)])
    for mac in plan.x86_64_macs:
        narrow = f"({narrow}) and not (pkt4.mac == {_hex(mac)})"
    return narrow


def _full(plan: MacPlan) -> list[Class]:
    inform = f"member('rackctl-mac') and pkt4.msgtype == {INFORM}"
    ours = f"{inform} and substring({_RAW},0,3) == 0x010102"
    if plan.dhcp:
        ours += f" and ({_last(server_part(plan.dhcp))})"
    classes: list[Class] = [
        {
            "name": "rackctl-mac-list",
            "test": f"{inform} and substring({_RAW},0,3) == 0x010101",
            "option-data": _options(plan.list_bytes),
        },
        {"name": "rackctl-mac-select", "test": ours},
    ]
    mine = "member('rackctl-mac-select')"
    if len(plan.offers) == 1:
        offer = plan.offers[0]
        return classes + _answers(plan, offer, "rackctl-mac-image0", mine, bsdp.encode_select(offer.image.id))
    for number, offer in enumerate(plan.offers):
        test = f"{mine} and ({_last(image_part(offer))})"
        classes += _answers(plan, offer, f"rackctl-mac-image{number}", test, bsdp.encode_select(offer.image.id))
    known = " or ".join(f"({_last(image_part(offer))})" for offer in plan.offers)
    failed = _options(bsdp.encode_failed())
    return [*classes, {"name": "rackctl-mac-failed", "test": f"{mine} and not ({known})", "option-data": failed}]


def _last(part: bytes) -> str:
    """Whether this sub-option of six bytes is the last or the last but one: Kea cannot search."""
    return f"substring({_RAW},-6,6) == 0x{part.hex()} or substring({_RAW},-12,6) == 0x{part.hex()}"


def _answers(plan: MacPlan, offer: Offer, name: str, test: str, raw: bytes) -> list[Class]:
    def one(suffix: str, extra: str, efi: Efi) -> Class:
        return {
            "name": name + suffix,
            "test": test + extra,
            "next-server": plan.server,
            "boot-file-name": plan.file(offer, efi),
            "option-data": _options(raw),
        }

    if plan.one_file:
        return [one("", "", "x86_64")]
    narrow = "member('rackctl-mac32')"
    return [one("-ia32", f" and {narrow}", "ia32"), one("-x86-64", f" and not {narrow}", "x86_64")]


def _options(raw: bytes) -> list[dict[str, object]]:
    return [
        {"code": code, "csv-format": False, "always-send": True, "data": data.hex().upper()}
        for code, data in ((60, bsdp.VENDOR_CLASS.encode()), (43, raw))
    ]


def _hex(mac: str) -> str:
    return "0x" + mac.replace(":", "")
