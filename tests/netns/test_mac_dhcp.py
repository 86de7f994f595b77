"""The Mac classes in real DHCP servers, asked by a client that judges as Apple's does."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import netlab
import pytest
from netlab import RESPONDER, SERVER, Netlab

from rackctl.core import bsdp
from rackctl.core.dhcp.advice import Loaders, render_advice
from rackctl.core.load import parse_rack
from rackctl.core.macadvice import mac_classes
from rackctl.core.macdhcp import dnsmasq_lines, isc_class, responder_conf
from rackctl.core.mackea import kea_classes
from rackctl.core.macplan import MacPlan, make_plan
from rackctl.core.macs import IA32_MODELS
from rackctl.core.pe import pe_machine

pytestmark = pytest.mark.engine

RACK = """\
server: {address: 10.99.0.1}
os: {name: discovery}
mac: {bsdp: true, label: 'Rescue ★', icon_per_os: true, index: 1322}
nodes:
  odd32: {mac: '00:16:cb:00:32:32', mac_model: 'Macmini6,2', mac_efi: ia32}
  odd64: {mac: '00:16:cb:00:64:64', mac_model: 'iMac5,1', mac_efi: x86_64}
  other: {mac: '00:16:cb:00:00:02', apple: true, os: {name: rancheros, version: v1.5.8}}
"""
PLAN = make_plan(parse_rack(RACK), dhcp=SERVER)
ONE = make_plan(parse_rack("server: {address: 10.99.0.1}\nmac: {bsdp: true}\n"), dhcp=SERVER)
MODELS_64 = ("Macmini6,2", "iMac12,1", "Foo9,9")
CLASS = "AAPLBSDPC/i386/"
SERVERS = ("isc", "dnsmasq", "kea")
PXE = "PXEClient:Arch:00007:UNDI:003016"
QUIET = 0.6  # seconds without an answer that count as silence


@pytest.fixture(scope="module")
def lab() -> Iterator[Netlab]:
    with netlab.started() as found:
        yield found


def isc_conf(classes: str, *, authoritative: bool = True) -> str:
    return classes + "".join(
        [
            "ping-check false;\n",
            "subnet 10.99.0.0 netmask 255.255.255.0 {\n",
            "  authoritative;\n" if authoritative else "",
            "  range 10.99.0.110 10.99.0.150;\n",
            '  if option user-class = "iPXE" { filename "http://10.99.0.1/boot.ipxe"; }\n}\n',
        ]
    )


def dnsmasq_conf(lines: str) -> str:
    return (
        "port=0\nno-ping\nleasefile-ro\nlog-dhcp\ndhcp-range=10.99.0.110,10.99.0.150,255.255.255.0\n"
        "dhcp-userclass=set:ipxe,iPXE\ndhcp-boot=tag:ipxe,http://10.99.0.1/boot.ipxe\n" + lines
    )


def kea_conf(classes: list[dict[str, object]]) -> str:
    script = {"name": "ipxe", "test": "option[77].hex == 'iPXE'", "boot-file-name": "http://10.99.0.1/boot.ipxe"}
    dhcp = {
        "interfaces-config": {"interfaces": ["eth0"]},
        "lease-database": {"type": "memfile", "persist": False},
        "subnet4": [{"id": 1, "subnet": "10.99.0.0/24", "pools": [{"pool": "10.99.0.110 - 10.99.0.150"}]}],
        "client-classes": [script, *classes],
    }
    return json.dumps({"Dhcp4": dhcp})


def serve(lab: Netlab, kind: str, plan: MacPlan) -> AbstractContextManager[None]:
    """The server with rackctl's classes, checked by its own program first."""
    if kind == "isc":
        return isc(lab, isc_conf(isc_class(plan)))
    if kind == "dnsmasq":
        return dnsmasq(lab, dnsmasq_conf(dnsmasq_lines(plan)))
    return kea(lab, kea_conf(kea_classes(plan)))


def foreign(lab: Netlab, kind: str) -> AbstractContextManager[None]:
    """The server as it was before anybody thought of Macs."""
    if kind == "isc":
        return isc(lab, isc_conf("", authoritative=False))
    return dnsmasq(lab, dnsmasq_conf("")) if kind == "dnsmasq" else kea(lab, kea_conf([]))


def isc(lab: Netlab, conf: str) -> AbstractContextManager[None]:
    lab.write("/tmp/dhcpd.conf", conf)
    lab.sh("dhcpd -4 -t -cf /tmp/dhcpd.conf && : >/tmp/dhcpd.leases")
    return lab.serving("dhcpd -4 -f -d -cf /tmp/dhcpd.conf -lf /tmp/dhcpd.leases --no-pid eth0")


def dnsmasq(lab: Netlab, conf: str, namespace: str = "srv") -> AbstractContextManager[None]:
    lab.write(f"/tmp/{namespace}.conf", conf)
    lab.sh(f"dnsmasq --test -C /tmp/{namespace}.conf")
    return lab.serving(
        f"dnsmasq -k -C /tmp/{namespace}.conf --user=root --pid-file= --log-facility=- --interface=eth0", namespace
    )


def kea(lab: Netlab, conf: str) -> AbstractContextManager[None]:
    lab.write("/tmp/kea.json", conf)
    lab.sh("nsenter --net=/run/netns/srv kea-dhcp4 -t /tmp/kea.json")
    return lab.serving("kea-dhcp4 -c /tmp/kea.json")


def responder(lab: Netlab, plan: MacPlan = PLAN) -> AbstractContextManager[None]:
    return dnsmasq(lab, responder_conf(replace(plan, server=RESPONDER)), "rsp")


def listing(model: str = "Macmini6,2", **more: object) -> dict[str, object]:
    return {"do": "list", "class": CLASS + model, **more}


def select(image: bsdp.ImageId | str, model: str = "Macmini6,2", **more: object) -> dict[str, object]:
    raw = image if isinstance(image, str) else image.encode().hex()
    return {"do": "select", "class": CLASS + model, "image": raw, "server": SERVER, **more}


def refusal(answers: list[Any], port: int, server: str = SERVER, *, types: tuple[int, ...]) -> str:
    """Why Apple's client would drop the first answer (BSDPClientProcess in BSDPClient.c); empty if it takes it."""
    if not answers:
        return "silence"
    found = answers[0]
    options = {int(code): bytes.fromhex(value) for code, value in found["options"].items()}
    rules = {
        f"arrived at {found['port']}, listens at {port}": found["port"] == port,
        "not from port 67": found["source"] == 67 and found["from"] == server,
        "not a BOOTREPLY": found["op"] == 2,
        "ciaddr is not echoed": found["ciaddr"] == "10.99.0.100",
        "not an ACK": options.get(53) == b"\x05",
        "option 60 is not AAPLBSDPC": options.get(60) == b"AAPLBSDPC",
        "option 54 is not an address": options.get(54) == bytes(map(int, server.split("."))),
        "wrong BSDP message": bsdp.parse(options.get(43, b"")).type in types,
    }
    if types == (1,):
        rules["no image list"] = bool(bsdp.parse(options.get(43, b"")).images)
    return ", ".join(rule for rule, kept in rules.items() if not kept)


def vendor(answers: list[Any]) -> bytes:
    return bytes.fromhex(answers[0]["options"]["43"])


@pytest.mark.parametrize("kind", SERVERS)
def test_a_mac_finds_the_icons_and_its_own_binary(lab: Netlab, kind: str) -> None:
    wanted: list[tuple[str, int]] = [
        *[(model, 0x14C) for model in IA32_MODELS],
        *[(model, 0x8664) for model in MODELS_64],
    ]
    asks = [select(offer.image.id, model) for offer in PLAN.offers for model, _ in wanted]
    with serve(lab, kind, PLAN):
        shown, *chosen = lab.ask(listing(), *asks)
        assert refusal(shown, 68, types=(1,)) == ""
        assert vendor(shown) == PLAN.list_bytes
        expected = [(offer, machine) for offer in PLAN.offers for _, machine in wanted]
        for ask, answers, (offer, machine) in zip(asks, chosen, expected, strict=True):
            assert refusal(answers, 68, types=(2,)) == "", ask
            assert vendor(answers) == bsdp.encode_select(offer.image.id)
            file = PLAN.file(offer, "ia32" if machine == 0x14C else "x86_64")
            assert (answers[0]["file"], answers[0]["siaddr"]) == (file, SERVER), ask
    assert len({PLAN.file(o, e) for o in PLAN.offers for e in ("ia32", "x86_64")}) == 6


@pytest.mark.parametrize("kind", SERVERS)
def test_rack_yml_overrides_the_models_width_and_unknown_images_fail(lab: Netlab, kind: str) -> None:
    first = PLAN.offers[0]
    with serve(lab, kind, PLAN):
        odd32, odd64, unknown, foreign = lab.ask(
            select(first.image.id, "Macmini6,2", mac="00:16:cb:00:32:32"),
            select(first.image.id, "iMac5,1", mac="00:16:cb:00:64:64"),
            select("8100ffff"),
            select(first.image.id, server="10.99.0.9", wait=QUIET),
        )
    assert odd32[0]["file"] == "ipxe-ia32.efi"
    assert odd64[0]["file"] == "ipxe.efi"
    assert refusal(unknown, 68, types=(3,)) == ""
    assert vendor(unknown) == bsdp.encode_failed()
    # dhcpd and Kea cannot stay silent for a class; an answer without options 60 and 43 is dropped by Apple's client.
    assert refusal(foreign, 68, types=(2, 3)) != ""


@pytest.mark.parametrize("kind", SERVERS)
def test_a_single_icon_is_found_whatever_the_order_of_sub_options(lab: Netlab, kind: str) -> None:
    image = ONE.offers[0].image.id.encode().hex()
    with serve(lab, kind, ONE):
        shown, usual, turned = lab.ask(
            listing(),
            select(image),
            {**select(image), "vendor": f"01010202020101 0804{image} 03040a630001"},
        )
    assert refusal(shown, 68, types=(1,)) == ""
    assert [a[0]["file"] for a in (usual, turned)] == ["ipxe.efi", "ipxe.efi"]


@pytest.mark.parametrize("kind", SERVERS)
def test_what_is_no_mac_is_left_alone(lab: Netlab, kind: str) -> None:
    with serve(lab, kind, PLAN):
        pxe, ipxe, mac = lab.ask(
            {"do": "discover", "class": PXE, "parameters": [1, 3, 43, 60, 67]},
            {"do": "discover", "class": PXE, "user_class": "iPXE", "mac": "00:16:cb:00:00:09"},
            {"do": "discover", "class": CLASS + "Macmini6,2", "vendor": "02020101", "mac": "00:16:cb:00:00:08"},
        )
    for answers in (pxe, ipxe, mac):
        assert answers[0]["options"]["53"] == "02"
        assert answers[0]["yiaddr"].startswith("10.99.0.1")
        assert "43" not in answers[0]["options"]
    assert pxe[0]["file"] == ""
    assert ipxe[0]["file"] == "http://10.99.0.1/boot.ipxe"


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("form", ["full", "simple"])
def test_the_n_key_from_no_address_to_the_file(lab: Netlab, kind: str, form: str, tmp_path: Path) -> None:
    """In the full form a Mac leases an address, asks for the list, selects the default and fetches what it is told."""
    for name, machine in (("ipxe-ia32.efi", 0x14C), ("ipxe.efi", 0x8664)):
        head = b"MZ".ljust(0x3C, b"\0") + (0x40).to_bytes(4, "little")
        (tmp_path / name).write_bytes((head + b"PE\0\0" + machine.to_bytes(2, "little")).ljust(2000, b"\0"))
    lab.put(tmp_path, "/tmp/tftp")
    mac = {"class": CLASS + "iMac5,2", "mac": "00:16:cb:00:00:77"}
    tftp = "dnsmasq -k -C /dev/null --port=0 --enable-tftp --tftp-root=/tmp/tftp --user=root --pid-file="
    with serve(lab, kind, replace(PLAN, form=form)), lab.serving(tftp, port=69):
        (offer,) = lab.ask({"do": "discover", "vendor": "02020101", **mac})
        (ack,) = lab.ask({"do": "request", "wanted": offer[0]["yiaddr"], "server": SERVER, "vendor": "02020101", **mac})
        mac["address"] = ack[0]["yiaddr"]
        if form == "simple":
            assert vendor(offer) == bsdp.encode_offer(PLAN.offers[0].image.id)
            assert offer[0]["options"]["60"] == b"AAPLBSDPC".hex()
            assert (offer[0]["file"], offer[0]["siaddr"]) == ("ipxe-ia32.efi", SERVER)
            (shown,) = lab.ask(listing(wait=QUIET))
            assert refusal(shown, 68, types=(1,)) != "", "the simple form has no icon in the picker"
            told = ack[0]["file"]
        else:
            assert (offer[0]["file"], "43" in offer[0]["options"]) == ("", False)
            lab.sh(f"ip -n cli address add {mac['address']}/24 dev eth0")
            (shown,) = lab.ask({"do": "list", **mac})
            default = bsdp.parse(vendor(shown)).get(bsdp.Tag.DEFAULT_IMAGE) or b""
            (chosen,) = lab.ask({"do": "select", "server": SERVER, "image": default.hex(), **mac})
            lab.sh(f"ip -n cli address del {mac['address']}/24 dev eth0")
            told = chosen[0]["file"]
        (fetched,) = lab.ask({"do": "tftp", "file": told, "server": SERVER})
    assert pe_machine(bytes.fromhex(dict(fetched)["content"])) == 0x14C


@pytest.mark.parametrize("kind", SERVERS)
def test_both_forms_together(lab: Netlab, kind: str) -> None:
    with serve(lab, kind, replace(PLAN, form="both")):
        offer, shown = lab.ask({"do": "discover", "class": CLASS + "MacBook1,1", "vendor": "02020101"}, listing())
    assert vendor(offer) == bsdp.encode_offer(PLAN.offers[0].image.id)
    assert vendor(shown) == PLAN.list_bytes


@pytest.mark.parametrize("kind", SERVERS)
def test_startup_disk_is_answered_at_its_port_by_dnsmasq_alone(lab: Netlab, kind: str) -> None:
    ports = (613, 773, 1023)  # 0x0305 = 773 catches a port read without its leading zeros
    first = PLAN.offers[0].image.id
    with serve(lab, kind, PLAN):
        answers = lab.ask(*[ask for port in ports for ask in (listing(port=port), select(first, port=port))])
    for number, port in enumerate(ports):
        shown, chosen = answers[2 * number : 2 * number + 2]
        told = [refusal(shown, port, types=(1,)), refusal(chosen, port, types=(2,))]
        wrong = f"arrived at 68, listens at {port}"
        assert told == (["", ""] if kind == "dnsmasq" else [wrong, wrong])


def test_dhcpd_that_is_not_authoritative_says_nothing(lab: Netlab) -> None:
    with isc(lab, isc_conf(isc_class(PLAN), authoritative=False)):
        assert lab.ask(listing(wait=QUIET)) == [[]]
        lab.until("grep -q 'not authoritative' /tmp/srv.log")


def test_the_dnsmasq_lines_of_the_wiki_would_be_rejected(lab: Netlab) -> None:
    lines = """\
dhcp-vendorclass=set:apple,AAPLBSDPC/i386
dhcp-match=set:list,43,01:01:01
dhcp-match=set:select,43,01:01:02
dhcp-option-force=tag:apple,60,AAPLBSDPC/i386
dhcp-option-force=tag:apple,tag:list,43,01:01:01:04:02:80:00:07:04:81:00:05:2a:09:0d:81:00:05:2a:08:69:50:58:45:2d:46:4f:47
dhcp-option-force=tag:apple,tag:select,43,01:01:02:08:04:81:00:05:2a
dhcp-option-force=tag:apple,67,ipxe.efi
"""
    with dnsmasq(lab, dnsmasq_conf(lines)):
        shown, chosen = lab.ask(listing(), select("8100052a"))
    assert refusal(shown, 68, types=(1,)) == "option 60 is not AAPLBSDPC"
    assert chosen[0]["file"] == ""


@pytest.mark.parametrize("kind", SERVERS)
def test_the_responder_beside_a_foreign_server(lab: Netlab, kind: str) -> None:
    """The foreign server knows nothing of Macs and keeps on handing out addresses, alone."""
    first = PLAN.offers[0].image.id
    mine: dict[str, object] = {"server": RESPONDER, "from": [RESPONDER]}
    with foreign(lab, kind), responder(lab):
        discover, startup, shown, chosen, ia32, unknown = lab.ask(
            {"do": "discover", "class": CLASS + "Macmini6,2", "vendor": "02020101", "from": [SERVER], "least": 1.5},
            listing(port=773, **mine),
            listing(**mine),
            select(first, **mine),
            select(first, "MacBook2,1", port=613, **mine),
            select("8100ffff", **mine),
        )
    assert [one["from"] for one in discover] == [SERVER]
    for answers, port, kinds in ((startup, 773, (1,)), (shown, 68, (1,)), (chosen, 68, (2,)), (ia32, 613, (2,))):
        ours = [one for one in answers if one["from"] == RESPONDER]
        assert refusal(ours, port, RESPONDER, types=kinds) == ""
        others = [one for one in answers if one["from"] != RESPONDER]
        assert refusal(others, port, types=kinds) != "", "a Mac takes the responder's answer, not the other one"
    found = {one["from"]: one for one in [*chosen, *ia32]}
    assert [one["file"] for one in chosen if one["from"] == RESPONDER] == ["ipxe.efi"]
    assert [one["file"] for one in ia32 if one["from"] == RESPONDER] == ["ipxe-ia32.efi"]
    assert found[RESPONDER]["siaddr"] == RESPONDER
    assert vendor([one for one in unknown if one["from"] == RESPONDER]) == bsdp.encode_failed()
    assert "3" not in found[RESPONDER]["options"], "the responder is no router"


def test_the_responder_alone_is_silent_for_all_but_macs(lab: Netlab) -> None:
    first = PLAN.offers[0].image.id
    with responder(lab):
        asks: list[dict[str, object]] = [
            {"do": "discover", "class": PXE},
            {"do": "discover", "class": PXE, "user_class": "iPXE"},
            {"do": "discover", "class": CLASS + "Macmini6,2", "vendor": "02020101"},
            {"do": "request", "class": CLASS + "Macmini6,2", "wanted": "10.99.0.120", "server": SERVER},
            {"do": "inform", "class": "MSFT 5.0", "vendor": "dc00"},
            {"do": "inform", "class": CLASS + "Macmini6,2", "vendor": ""},
            select(first, server=SERVER),
            listing(told_port=2000, port=773),
            {**select(first), "vendor": f"0101020502ffff 03040a630002 0804{first.encode().hex()}"},
            {"do": "inform", "class": CLASS + "Macmini6,2", "vendor": "010101 02020101 0c022000 05020400"},
        ]
        silent = lab.ask(*[{**ask, "wait": QUIET} for ask in asks])
        assert silent == [[]] * len(silent)
        garbage = ["01", "0101", "010108", "01010102", "01010202020101050203", "ff" * 40, "0101020804"]
        garbage += ["010102" + "0804" * 60]
        lab.ask(*[{"do": "inform", "class": CLASS + "Macmini6,2", "vendor": raw, "wait": 0.05} for raw in garbage])
        shown, highest, orders = lab.ask(
            listing(),
            listing(port=1023),
            {**select(first), "vendor": f"01010202020101050200440804{first.encode().hex()}03040a630002"},
        )
    assert refusal(shown, 68, RESPONDER, types=(1,)) == "", "garbage did not kill it"
    assert refusal(highest, 1023, RESPONDER, types=(1,)) == ""
    assert refusal(orders, 68, RESPONDER, types=(2,)) == ""


@pytest.mark.parametrize("kind", ["dhcpd", "dnsmasq", "kea"])
def test_dhcp_show_as_a_whole_answers_macs(lab: Netlab, kind: str) -> None:
    loaders = Loaders(("undionly.kpxe", "ipxe.efi", "snponly.efi", "ipxe-ia32.efi"), "a test")
    text = RACK.replace("bsdp: true, ", "") + "dhcp: {ranges: [10.99.0.110-10.99.0.150]}\n"
    shown = render_advice(parse_rack(text), kind, loaders)
    serving = {"dhcpd": isc, "dnsmasq": dnsmasq, "kea": kea}[kind]
    prefix = {"dnsmasq": "port=0\nno-ping\nleasefile-ro\n", "dhcpd": "ping-check false;\n"}.get(kind, "")
    with serving(lab, prefix + shown.replace('"persist": true', '"persist": false')):
        icons, chosen, pxe = lab.ask(
            listing(),
            select(PLAN.offers[0].image.id, "iMac5,2"),
            {"do": "discover", "class": PXE, "parameters": [1, 3, 43, 60, 67]},
        )
    assert refusal(icons, 68, types=(1,)) == ""
    assert vendor(icons) == PLAN.list_bytes
    assert refusal(chosen, 68, types=(2,)) == ""
    assert (chosen[0]["file"], chosen[0]["siaddr"]) == ("ipxe-ia32.efi", SERVER)
    assert "43" not in pxe[0]["options"]


def test_a_dnsmasq_that_was_told_leaves_macs_to_the_responder(lab: Netlab) -> None:
    told = dnsmasq_conf(mac_classes(parse_rack(RACK), "dnsmasq", ()))
    with dnsmasq(lab, told), responder(lab):
        mac: dict[str, object] = listing(**{"from": [RESPONDER]})
        shown, pxe = lab.ask(mac, {"do": "discover", "class": PXE, "from": [SERVER]})
    assert [one["from"] for one in shown] == [RESPONDER]
    assert [one["from"] for one in pxe] == [SERVER]
