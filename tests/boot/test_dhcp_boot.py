"""Machines that boot by each DHCP server a router may run, by rackctl beside it, and by rackctl in its place.

The servers run in network namespaces of their own, with a link into the lab's bridge; what they are told is what
`rackctl dhcp show` prints. tests/netns/test_dhcp_wire.py has what the packets alone can show.
"""

from collections.abc import Iterator

import peers
import pytest
from dhcpbench import PLAIN, Bench, is_clean, names, open_bench

from rackctl import trial
from rackctl.errors import BootError

pytestmark = [pytest.mark.engine, pytest.mark.boot]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("dhcp"), 26) as made:
        yield made


@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq"])
def test_a_router_with_our_settings_boots_bios_and_uefi(bench: Bench, kind: str) -> None:
    """To the check-in, by the address that rack.yml has."""
    bench.up("router")
    with bench.serve(kind, bench.advice(kind)):
        # dnsmasq pings an address for 3 s before it offers it.
        audit = bench.audit(wait=5.0 if kind == "dnsmasq" else 1.5, whole=is_clean)
        assert [p.text for p in audit.problems] == [], audit.answers
        assert {a.boot_file for a in audit.answers if a.client == "http"} == {
            f"http://{bench.master}:8093/ipxe/{trial.loader_for(bench.folder, 'uefi')}"
        }
        assert not [a for a in audit.answers if a.client == "ipxe-rackctl" and a.boot_file]
        found = bench.boot("bios", "uefi")
    assert found == {"bios": f"{bench.net}.21", "uefi": f"{bench.net}.22"}


@pytest.mark.parametrize(
    ("kind", "machines"),
    [("dhcpd", ["bios", "uefi"]), ("kea", ["bios", "uefi"]), ("dnsmasq", ["bios", "uefi", "http"])],
)
def test_a_proxy_beside_a_router_boots_bios_uefi_and_http(bench: Bench, kind: str, machines: list[str]) -> None:
    """To the check-in. BIOS: QEMU's option ROM is a foreign iPXE, which ours takes over from."""
    bench.up("proxy")
    log = bench.folder.logs / "tftp.jsonl"
    before = len(log.read_text())
    with bench.serve(kind, PLAIN[kind]):
        found = bench.boot(*machines)
    loaded = [line for line in log.read_text()[before:].splitlines() if "sent /srv" in line]
    # HTTP boot needs no TFTP
    by_tftp = {machine for machine in machines if any(f" to {found[machine]}" in line for line in loaded)}
    assert by_tftp == set(machines) - {"http"}


def test_the_server_boots_bios_and_uefi_with_their_addresses_and_names(bench: Bench) -> None:
    """To the check-in: the system asks rackctl's server as well."""
    bench.up("server")
    with bench.serve("neighbour", ""):  # a bridge alone has no carrier
        found = bench.boot("bios", "uefi")
    assert found == {"bios": f"{bench.net}.21", "uefi": f"{bench.net}.22"}


def test_a_loop_on_purpose_is_recognised_and_named(bench: Bench) -> None:
    """The stock iPXE, with no script in it, named to everybody: it loads itself for ever."""
    bench.up("router")
    looping = PLAIN["dnsmasq"] + "dhcp-boot=undionly.kpxe\nenable-tftp\ntftp-root=/usr/lib/ipxe\n"
    with bench.serve("dnsmasq", looping):
        assert "loop" in names(bench.audit(whole=lambda audit: "loop" in names(audit)))
    stock = bench.folder.served / "current" / "tftp" / "stock.kpxe"
    stock.write_bytes(peers.read_file("/usr/lib/ipxe/undionly.kpxe"))
    try:
        with pytest.raises(BootError) as caught:
            bench.boot("bios", dhcp="router", file="stock.kpxe")
    finally:
        stock.unlink()
    assert "loop" in caught.value.message
