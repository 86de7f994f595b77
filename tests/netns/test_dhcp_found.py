"""Each fault of other people's DHCP, made with the real server that makes it, is named; and what rack.yml says besides.

tests/core/test_dhcp_audit.py has the same rules on answers that were written by hand.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest
from dhcpbench import PLAIN, Bench, open_bench

from rackctl.adapters.dhcpwire import Datagram, exchange
from rackctl.core.dhcp import packet
from rackctl.core.dhcp.advice import Loaders, render_advice
from rackctl.core.dhcp.daemon import render_dnsmasq
from rackctl.core.load import parse_rack

pytestmark = pytest.mark.engine

FILES = ("undionly.kpxe", "ipxe.efi", "snponly.efi")
KEA_BY_NAME = PLAIN["kea"].replace(
    '"subnet4"',
    '"option-data": [ { "name": "tftp-server-name", "data": "master.example", "always-send": true }, '
    '{ "name": "boot-file-name", "data": "ipxe.efi", "always-send": true } ], "subnet4"',
)
FAULTS = {
    "only-options": ("dhcpd", 'option bootfile-name "x.0"; option tftp-server-name "NET.1";\n' + PLAIN["dhcpd"]),
    "server-by-name": ("kea", KEA_BY_NAME),
    "pxe-menu": ("dnsmasq", PLAIN["dnsmasq"] + 'pxe-prompt="Press F8",5\npxe-service=x86PC,"Install",pxelinux\n'),
    "arch-7-9": ("dnsmasq", PLAIN["dnsmasq"] + "dhcp-match=set:x,option:client-arch,7\ndhcp-boot=tag:x,a.efi,,NET.1\n"),
    "missing-file": ("dnsmasq", PLAIN["dnsmasq"] + "dhcp-boot=nowhere.efi,,NET.1\n"),
    "http-no-url": ("dnsmasq", PLAIN["dnsmasq"] + "dhcp-boot=ipxe.efi,,NET.1\n"),
    "http-no-echo": (
        "dnsmasq",
        PLAIN["dnsmasq"] + "dhcp-match=set:h,option:client-arch,16\ndhcp-boot=tag:h,http://NET.1:8093/ipxe/ipxe.efi\n",
    ),
    "no-file": ("dnsmasq", PLAIN["dnsmasq"]),
}
MORE = """\
server: {address: ADDRESS}
dhcp:
  mode: MODE
  ranges: [NET.210-NET.239]
  router: NET.2
  dns: [NET.4, NET.5]
  ntp: [NET.6]
  domain: rack.example
  routes: {10.1.0.0/16: NET.9}
nodes:
  n1: {mac: "52:54:00:67:00:01", address: NET.21}
"""
ROUTER, DNS, HOST_NAME, DOMAIN, NTP, ROUTES = 3, 6, 12, 15, 42, 121  # RFC 2132, RFC 3442


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("found"), 23) as made:
        yield made


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_real_server_is_named(bench: Bench, name: str) -> None:
    bench.up("router")
    kind, config = FAULTS[name]
    with bench.serve(kind, config):
        audit = bench.audit()
    assert name in {problem.name for problem in audit.problems}, audit.answers


def test_a_router_that_names_itself_beside_a_proxy_is_noted(bench: Bench) -> None:
    bench.up("proxy")
    with bench.serve("dhcpd", "next-server NET.2;\n" + PLAIN["dhcpd"]):
        audit = bench.audit()
    assert [(p.name, p.level) for p in audit.problems] == [("next-server-wins", "note")]


@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq", "rackctl"])
def test_gateway_dns_ntp_routes_and_name_reach_the_machine(bench: Bench, kind: str) -> None:
    """rackctl: the server of `dhcp: server`; the others as `dhcp show` sets them up."""
    bench.up("router")
    own = kind == "rackctl"
    address = bench.other if own else bench.master
    text = bench.fill(MORE).replace("ADDRESS", address).replace("MODE", "server" if own else "router")
    rack = parse_rack(text)
    conf = render_dnsmasq(rack, FILES) if own else render_advice(rack, kind, Loaders(FILES, "a test"))
    conf = conf.replace("/logs/dhcp.leases", "/tmp/leases")  # the container's mount is not here
    wanted = bytes((1, ROUTER, DNS, HOST_NAME, DOMAIN, NTP, ROUTES))
    ask = packet.Message(
        1, 7, "52:54:00:67:00:01", {packet.MESSAGE_TYPE: bytes((packet.DISCOVER,)), packet.PARAMETERS: wanted},
        packet.BROADCAST,
    )  # fmt: skip
    with bench.serve("dnsmasq" if own else kind, conf, bench.other if own else ""):
        heard = exchange(bench.tftp, bench.network.bridge, [Datagram(packet.encode(ask))], 5.0)
    (offer,) = [m for m in (packet.decode(one.payload) for one in heard) if m.op == 2 and m.xid == 7]

    def packed(*last: int) -> bytes:
        return b"".join(IPv4Address(f"{bench.net}.{one}").packed for one in last)

    assert str(offer.yiaddr) == f"{bench.net}.21"
    assert (offer.options[ROUTER], offer.options[DNS], offer.options[NTP]) == (packed(2), packed(4, 5), packed(6))
    assert (offer.text(HOST_NAME), offer.text(DOMAIN)) == ("n1", "rack.example")
    assert offer.options[ROUTES] == bytes((16, 10, 1)) + packed(9) + bytes((0,)) + packed(2)
