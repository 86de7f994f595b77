"""Machines that boot by each DHCP server a router may run, by rackctl beside it, and by rackctl in its place.

The servers run in network namespaces of their own, with a link into the lab's bridge. What they are told is what
`rackctl dhcp show` prints, and every boot goes to its check-in.
"""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peers
import pytest
from typer.testing import CliRunner

from rackctl import apply, trial
from rackctl.adapters import imagebuild, lab
from rackctl.adapters.folder import RackFolder
from rackctl.core.dhcp.advice import render_advice
from rackctl.core.timeline import Timeline
from rackctl.dhcp import known_loaders, run_audit
from rackctl.errors import BootError, BusyError

pytestmark = [pytest.mark.engine, pytest.mark.boot]

NETWORK = "10.98.103.1/24"
ROUTER, OTHER = "10.98.103.2", "10.98.103.3"
RACK = """\
server: {address: 10.98.103.1, http_port: 8093}
unknown: discover
dhcp:
  mode: %s
  ranges: [10.98.103.210-10.98.103.239]
nodes:
  bios: {mac: "52:54:00:67:00:01", address: 10.98.103.21}
  uefi: {mac: "52:54:00:67:00:02", address: 10.98.103.22}
  http: {mac: "52:54:00:67:00:03", address: 10.98.103.23}
"""
PLAIN = {
    "dnsmasq": "dhcp-range=10.98.103.210,10.98.103.239,255.255.255.0,1h\n",
    "dhcpd": "subnet 10.98.103.0 netmask 255.255.255.0 { range 10.98.103.210 10.98.103.239; }\n",
    "kea": '{ "Dhcp4": { "interfaces-config": { "interfaces": [ "*" ] }, "subnet4": [ { "id": 1, "subnet": '
    '"10.98.103.0/24", "pools": [ { "pool": "10.98.103.210 - 10.98.103.239" } ] } ] } }\n',
}
# Two machines under TCG on two cores, beside whatever else runs: patience is cheaper than a flaky test.
PATIENT = 240.0  # seconds


class Bench:
    """A rack that is up in one mode after the other, on a bridge of its own."""

    def __init__(self, path: Path) -> None:
        self.folder = RackFolder(path)
        self.network = lab.find_network()
        self.image = imagebuild.build_image("lab", print)
        self.mode = ""

    def up(self, mode: str) -> None:
        if self.mode != mode:
            (self.folder.path / "rack.yml").write_text(RACK % mode)
            apply.bring_up(self.folder, print)
            self.mode = mode

    def advice(self, kind: str) -> str:
        rack = self.folder.read_rack()
        return render_advice(rack, kind, known_loaders(self.folder, rack))

    def boot(self, *firmware: str, dhcp: str = "none", file: str = "") -> dict[str, Timeline]:
        """Power the machines of these firmwares on, side by side; all of them check in, or BootError."""

        def one(kind: str) -> Timeline:
            mac = self.folder.read_rack().nodes[kind].mac
            machine = lab.Machine(mac, kind, file, "10.98.103.1", facts={"DHCP": dhcp})
            return trial.boot_machine(self.folder, machine, self.image, lambda _: None, silence=PATIENT).timeline

        with ThreadPoolExecutor() as pool:
            return dict(zip(firmware, pool.map(one, firmware), strict=True))

    def audit(self, mac: str = ""):
        image = imagebuild.build_image("tftp", print)
        return run_audit(self.folder, self.folder.read_rack(), image, mac=mac)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    before = os.environ.get("RACKCTL_LAB")
    os.environ["RACKCTL_LAB"] = NETWORK
    made = Bench(tmp_path_factory.mktemp("dhcp"))
    lab.set_up_network(made.image, made.network)
    try:
        with peers.open_bridge(made.network.bridge):
            yield made
    finally:
        apply.bring_down(made.folder)
        lab.remove_network(made.image, made.network)
        os.environ.pop("RACKCTL_LAB")
        if before:
            os.environ["RACKCTL_LAB"] = before


def checked_in(boots: dict[str, Timeline]) -> dict[str, str]:
    assert all(boot.verdict == "done" for boot in boots.values())
    return {name: boot.ip for name, boot in boots.items()}


@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq"])
def test_a_router_with_our_settings_boots_bios_and_uefi(bench: Bench, kind: str) -> None:
    bench.up("router")
    with peers.serve(kind, bench.advice(kind), bench.network.bridge, f"{ROUTER}/24"):
        audit = bench.audit()
        assert [p.text for p in audit.problems] == [], audit.answers
        assert {a.boot_file for a in audit.answers if a.client == "http"} == {
            f"http://10.98.103.1:8093/ipxe/{trial.loader_for(bench.folder, 'uefi')}"
        }
        assert not [a for a in audit.answers if a.client == "ipxe-rackctl" and a.boot_file]
        named = {a.host_name for a in bench.audit("52:54:00:67:00:01").answers}
        assert named == {"bios"}
        found = checked_in(bench.boot("bios", "uefi"))
    assert found == {"bios": "10.98.103.21", "uefi": "10.98.103.22"}


@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq"])
def test_a_proxy_beside_a_router_boots_bios_and_uefi(bench: Bench, kind: str) -> None:
    bench.up("proxy")
    with peers.serve(kind, PLAIN[kind], bench.network.bridge, f"{ROUTER}/24"):
        audit = bench.audit()
        assert not [p for p in audit.problems if p.level != "note"]
        ours = [a for a in audit.answers if a.server == "10.98.103.1"]
        assert {a.kind for a in ours} == {"proxy", "4011"}
        assert not [a for a in ours if a.offered or a.client == "ipxe-rackctl"]
        assert {a.boot_file for a in ours if a.client == "ipxe"} == {trial.loader_for(bench.folder, "bios")}
        checked_in(bench.boot("bios", "uefi"))


def test_http_boot_needs_no_tftp(bench: Bench) -> None:
    bench.up("proxy")
    before = len((bench.folder.logs / "tftp.jsonl").read_text())
    with peers.serve("dnsmasq", PLAIN["dnsmasq"], bench.network.bridge, f"{ROUTER}/24"):
        checked_in(bench.boot("http"))
    assert "sent /srv" not in (bench.folder.logs / "tftp.jsonl").read_text()[before:]


def test_a_server_refuses_to_start_beside_another(bench: Bench) -> None:
    with (
        peers.serve("dnsmasq", PLAIN["dnsmasq"], bench.network.bridge, f"{ROUTER}/24"),
        pytest.raises(BusyError) as caught,
    ):
        bench.up("server")
    assert ROUTER in caught.value.message
    assert "dhcp: proxy" in caught.value.remedy


def test_the_server_boots_bios_and_uefi_with_their_addresses_and_names(bench: Bench) -> None:
    bench.up("server")
    with peers.serve("neighbour", "", bench.network.bridge, f"{ROUTER}/24"):  # a bridge alone has no carrier
        audit = bench.audit("52:54:00:67:00:01")
    assert {(a.offered, a.host_name) for a in audit.answers if a.kind == "address"} == {("10.98.103.21", "bios")}
    assert [p.name for p in audit.problems] == []
    found = checked_in(bench.boot("bios", "uefi"))
    assert found == {"bios": "10.98.103.21", "uefi": "10.98.103.22"}


def test_two_servers_that_disagree_are_both_shown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from rackctl.cli import dhcp  # noqa: F401 its commands register themselves
    from rackctl.cli.app import app

    bench.up("router")
    one = PLAIN["dnsmasq"] + "dhcp-boot=grub.efi,,10.98.103.2\n"
    with (
        peers.serve("dnsmasq", one, bench.network.bridge, f"{ROUTER}/24"),
        peers.serve("kea", bench.advice("kea"), bench.network.bridge, f"{OTHER}/24"),
    ):
        audit = bench.audit()
        assert {a.server for a in audit.answers if a.client == "bios"} == {ROUTER, OTHER}
        names = {p.name for p in audit.problems}
        assert {"two-servers", "two-files", "missing-file"} <= names
        shown = CliRunner().invoke(app, ["dhcp", "audit", "--rack", str(bench.folder.path)])
    assert shown.exit_code == 5
    assert "2 DHCP servers offer addresses" in shown.stdout
    assert f"{ROUTER} offers" in shown.stdout
    assert f"{OTHER} offers" in shown.stdout


def test_a_loop_on_purpose_is_recognised_and_named(bench: Bench) -> None:
    """The stock iPXE, with no script in it, named to everybody: it loads itself for ever."""
    bench.up("router")
    looping = PLAIN["dnsmasq"] + "dhcp-boot=undionly.kpxe\nenable-tftp\ntftp-root=/usr/lib/ipxe\n"
    with peers.serve("dnsmasq", looping, bench.network.bridge, f"{ROUTER}/24"):
        assert "loop" in {p.name for p in bench.audit().problems}
    stock = bench.folder.served / "current" / "tftp" / "stock.kpxe"
    stock.write_bytes(peers.read_file("/usr/lib/ipxe/undionly.kpxe"))
    try:
        with pytest.raises(BootError) as caught:
            bench.boot("bios", dhcp="router", file="stock.kpxe")
    finally:
        stock.unlink()
    assert "loop" in caught.value.message


def test_nothing_of_the_lab_is_left(bench: Bench) -> None:
    assert not peers.docker("ps", "-q", "--filter", "label=org.rackctl.role=peers").split()
    shutil.rmtree(bench.folder.work / "lab", ignore_errors=True)
