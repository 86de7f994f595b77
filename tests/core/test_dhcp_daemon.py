import os
from pathlib import Path

import peers
import pytest

from rackctl.core.dhcp.daemon import render_dnsmasq
from rackctl.core.load import parse_rack

GOLDEN = Path(__file__).parent.parent / "golden" / "dnsmasq"
FILES = ("undionly.kpxe", "ipxe.efi", "snponly.efi")
HEAD = "server: {address: 10.98.0.1, http_port: 8083}\n"
NODES = """\
nodes:
  n1: {mac: "52:54:00:67:00:01", address: 10.98.0.21}
  n2: {mac: "52:54:00:67:00:02"}
"""
RACKS = {
    "router": HEAD + NODES,
    "bridge": "server: {address: 10.98.0.1, network: bridge}\n",
    "proxy": HEAD + NODES + "dhcp: proxy\n",
    "proxy-known": HEAD + NODES + "dhcp: proxy\nunknown: ignore\n",
    "server": HEAD
    + NODES
    + """\
dhcp:
  mode: server
  ranges: [10.98.0.100-10.98.0.149]
  router: 10.98.0.2
  dns: [10.98.0.2, 10.98.0.3]
  ntp: [10.98.0.4]
  domain: rack.example
  routes: {10.1.0.0/16: 10.98.0.9}
  lease: 1h
""",
    "server-static": HEAD + NODES + "dhcp: server\nunknown: ignore\n",
}


@pytest.mark.parametrize("name", RACKS)
def test_the_file_is_the_golden_one(name: str) -> None:
    file, found = GOLDEN / f"{name}.conf", render_dnsmasq(parse_rack(RACKS[name]), FILES)
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found)
        pytest.fail("golden files were written; read the difference, then run without UPDATE_GOLDEN")
    assert found == file.read_text()


def test_a_proxy_never_has_an_address_to_give() -> None:
    for name in ("proxy", "proxy-known"):
        text = (GOLDEN / f"{name}.conf").read_text()
        assert "10.98.0.21" not in text
        assert [line for line in text.splitlines() if line.startswith("dhcp-range")] == ["dhcp-range=10.98.0.1,proxy"]


@pytest.mark.engine
@pytest.mark.parametrize("name", RACKS)
def test_dnsmasq_itself_takes_it(name: str) -> None:
    peers.check("dnsmasq", render_dnsmasq(parse_rack(RACKS[name]), FILES))
