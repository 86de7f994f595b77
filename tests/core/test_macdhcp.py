import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rackctl.core.dhcp.advice import Loaders, render_advice
from rackctl.core.dhcp.daemon import render_dnsmasq
from rackctl.core.load import parse_rack
from rackctl.core.macadvice import mac_hint
from rackctl.core.macdhcp import dnsmasq_lines, isc_class, responder_conf, silence_lines
from rackctl.core.mackea import kea_classes
from rackctl.core.macplan import MacPlan, has_macs, make_plan
from rackctl.errors import ConfigError

GOLDEN = Path(__file__).parent.parent / "golden" / "mac"
RACK = """\
server: {address: 10.99.0.1}
os: {name: discovery}
mac: {bsdp: true, label: 'Rescue ★', icon_per_os: true, form: both}
nodes:
  odd32: {mac: '00:16:cb:00:32:32', mac_model: 'Macmini6,2', mac_efi: ia32}
  odd64: {mac: '00:16:cb:00:64:64', mac_model: 'iMac5,1', mac_efi: x86_64}
"""
MANY = make_plan(parse_rack(RACK), dhcp="10.99.0.1")
ONE = make_plan(parse_rack("server: {address: 10.99.0.1}\nmac: {bsdp: true}\n"))


def rendered(plan: MacPlan) -> dict[str, str]:
    return {
        "isc": isc_class(plan),
        "dnsmasq": dnsmasq_lines(plan),
        "kea": json.dumps(kea_classes(plan), indent=2) + "\n",
        "responder": responder_conf(plan),
    }


@pytest.mark.parametrize(("name", "plan"), [("many", MANY), ("one", ONE), ("fat", replace(ONE, fat=True))])
def test_what_the_servers_are_told_is_golden(name: str, plan: MacPlan) -> None:
    found = {f"{name}.{server}": text for server, text in rendered(plan).items()}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for file, text in found.items():
            (GOLDEN / file).write_text(text)
        pytest.fail("golden files were written; read the difference, then run without UPDATE_GOLDEN")
    assert found == {file: (GOLDEN / file).read_text() for file in found}


def test_one_file_for_all_needs_no_models() -> None:
    for plan in (replace(ONE, fat=True), replace(ONE, ia32=False)):
        for text in rendered(plan).values():
            assert "MacBook1,1" not in text
    assert replace(ONE, fat=True).files() == ("ipxe-mac.efi",)
    assert replace(ONE, ia32=False).files() == ("ipxe.efi",)
    assert replace(ONE, loader="snponly").files() == ("snponly-ia32.efi", "snponly.efi")


def test_icons_have_ids_and_files_of_their_own() -> None:
    assert [offer.image.name for offer in MANY.offers] == ["Rescue ★", "discovery builtin"]
    assert [offer.image.id.index for offer in MANY.offers] == [1, 2]
    assert MANY.files()[2:] == ("mac/discovery/ipxe-ia32.efi", "mac/discovery/ipxe.efi")


def test_labels_that_do_not_fit_together_are_refused() -> None:
    rack = parse_rack(f"server: {{address: 10.99.0.1}}\nmac: {{label: '{'x' * 230}', icon_per_os: true}}\n")
    with pytest.raises(ConfigError, match="option 43 holds 255"):
        make_plan(rack)


def test_a_rack_without_macs_tells_servers_nothing() -> None:
    head = "server: {address: 10.99.0.1}\nnodes: {a: {mac: '00:16:cb:00:00:01'"
    assert not has_macs(parse_rack(head + "}}\n"))
    assert not has_macs(parse_rack(head + ", mac_model: 'Macmini8,1', mac_boot: stick}}\n"))
    assert has_macs(parse_rack(head + ", mac_model: 'Macmini7,1'}}\n"))
    assert has_macs(parse_rack("server: {address: 10.99.0.1}\nmac: {bsdp: true}\n"))


def test_a_rack_that_ignores_strangers_answers_its_own_macs_alone() -> None:
    head = "server: {address: 10.99.0.1}\nmac: {bsdp: true}\nunknown: ignore\n"
    assert "dhcp-ignore=tag:!mac-known" in responder_conf(make_plan(parse_rack(head)))
    nodes = (
        "nodes:\n  m: {mac: '00:16:cb:00:00:01', mac_model: 'Macmini6,2'}\n"
        "  t2: {mac: '00:16:cb:00:00:02', mac_model: 'Macmini8,1', mac_boot: stick}\n"
    )
    lines = responder_conf(make_plan(parse_rack(head + nodes))).splitlines()
    assert [line for line in lines if line.startswith("dhcp-mac=")] == ["dhcp-mac=set:mac-known,00:16:cb:00:00:01"]
    assert "mac-known" not in responder_conf(ONE)


def test_rackctls_own_dhcp_server_answers_macs_too() -> None:
    mini = "nodes: {m: {mac: '00:16:cb:00:00:01', mac_model: 'Macmini6,2'}}\n"
    serves = f"server: {{address: 10.99.0.1}}\ndhcp: {{mode: server, ranges: [10.99.0.110-10.99.0.150]}}\n{mini}"
    own = parse_rack(serves)
    assert dnsmasq_lines(make_plan(own, ia32=False, dhcp="10.99.0.1")) in render_dnsmasq(own, ("ipxe.efi",))
    beside = parse_rack(serves + "mac: {bsdp: true}\n")
    assert render_dnsmasq(beside, ("ipxe.efi",)).endswith(silence_lines()), "two answers would confuse a Mac"
    proxy = parse_rack(f"server: {{address: 10.99.0.1}}\ndhcp: proxy\n{mini}")
    assert "AAPL" not in render_dnsmasq(proxy, ("ipxe.efi",))
    assert "Set mac: {bsdp: true}" in render_advice(proxy, "unifi", Loaders(("ipxe.efi",), "a test"))
    assert [bool(mac_hint(rack)) for rack in (own, beside, proxy)] == [False, False, True]


def test_dhcp_show_tells_of_macs_only_when_the_rack_has_some() -> None:
    loaders = Loaders(("ipxe.efi",), "a test")
    head = "server: {address: 10.99.0.1}\n"
    mini = "nodes: {m: {mac: '00:16:cb:00:00:01', mac_model: 'Macmini6,2'}}\n"
    for kind in ("dhcpd", "dnsmasq", "kea", "pihole", "unifi", "windows"):
        assert "AAPL" not in render_advice(parse_rack(head), kind, loaders)
        shown = render_advice(parse_rack(head + mini), kind, loaders)
        assert ("AAPLBSDPC" in shown) == (kind in ("dhcpd", "dnsmasq", "kea", "pihole"))
        assert ("cannot answer Macs" in shown) == (kind in ("unifi", "windows"))
        assert ("shows no icon" in shown) == (kind in ("dhcpd", "kea"))
        quiet = render_advice(parse_rack(head + "mac: {bsdp: true}\n" + mini), kind, loaders)
        assert "need nothing here" in quiet
        assert "mac-list" not in quiet
