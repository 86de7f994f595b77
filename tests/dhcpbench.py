"""A rack on a bridge of its own, with the DHCP servers of others beside it: what the DHCP tests share."""

import ipaddress
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peers

from rackctl import apply, trial
from rackctl.adapters import imagebuild, lab
from rackctl.adapters.folder import RackFolder
from rackctl.core.dhcp.advice import render_advice
from rackctl.core.timeline import Timeline
from rackctl.dhcp import Audit, known_loaders, run_audit

PORT = 8093
RACK = """\
server: {address: NET.1, http_port: 8093}
unknown: discover
dhcp:
  mode: MODE
  ranges: [NET.210-NET.239]
nodes:
  bios: {mac: "52:54:00:67:00:01", address: NET.21}
  uefi: {mac: "52:54:00:67:00:02", address: NET.22}
  http: {mac: "52:54:00:67:00:03", address: NET.23}
"""
# Each server as its package sets it up: addresses, and no word about booting.
PLAIN = {
    "dnsmasq": "no-ping\ndhcp-range=NET.210,NET.239,255.255.255.0,1h\n",
    "dhcpd": "subnet NET.0 netmask 255.255.255.0 { range NET.210 NET.239; }\n",
    "kea": '{ "Dhcp4": { "interfaces-config": { "interfaces": [ "*" ] }, "subnet4": [ { "id": 1, "subnet": '
    '"NET.0/24", "pools": [ { "pool": "NET.210 - NET.239" } ] } ] } }\n',
}
# Machines under TCG on two cores, beside whatever else runs: patience is cheaper than a flaky test.
PATIENT = 240.0  # seconds


class Bench:
    """A rack that is up in one mode after the other."""

    def __init__(self, path: Path) -> None:
        self.folder = RackFolder(path)
        self.network = lab.find_network()
        self.image = imagebuild.build_image("lab", print)
        self.tftp = imagebuild.build_image("tftp", print)
        self.net = self.network.address.rpartition(".")[0]
        self.master, self.router, self.other = (f"{self.net}.{last}" for last in (1, 2, 3))
        self.mode = ""

    def fill(self, text: str) -> str:
        """The text with this network's first three numbers in place of NET."""
        return text.replace("NET.", f"{self.net}.")

    def write(self, mode: str, more: str = "") -> None:
        text = self.fill(RACK).replace("MODE", mode + more)
        (self.folder.path / "rack.yml").write_text(text)

    def up(self, mode: str, more: str = "") -> None:
        """more: further lines of the dhcp section, indented as they stand there."""
        if self.mode != mode + more:
            self.write(mode, more)
            apply.bring_up(self.folder, print)
            self.mode = mode + more

    def serve(self, kind: str, config: str, address: str = ""):
        """A server on the rack's bridge, at the router's address or another."""
        return peers.serve(kind, self.fill(config), self.network.bridge, f"{address or self.router}/24")

    def advice(self, kind: str) -> str:
        rack = self.folder.read_rack()
        return render_advice(rack, kind, known_loaders(self.folder, rack))

    def boot(self, *firmware: str, dhcp: str = "none", file: str = "") -> dict[str, str]:
        """Power the machines of these firmwares on, side by side; each one's address. BootError when one is stuck."""

        def one(kind: str) -> Timeline:
            mac = self.folder.read_rack().nodes[kind].mac
            machine = lab.Machine(mac, kind, file, self.master, facts={"DHCP": dhcp})
            quiet: Any = lambda _: None  # noqa: E731
            return trial.boot_machine(self.folder, machine, self.image, quiet, silence=PATIENT).timeline

        with ThreadPoolExecutor() as pool:
            return {kind: boot.ip for kind, boot in zip(firmware, pool.map(one, firmware), strict=True)}

    def audit(self, mac: str = "", wait: float = 1.5, whole: Callable[[Audit], bool] = lambda _audit: True) -> Audit:
        """wait: seconds; the servers here are near and answer at once.

        whole: whether all that the test looks at have answered. On a busy machine one may be late: then all are asked
        once more, and more patiently.
        """
        for patience in (wait, wait + 5, wait + 15):
            found = run_audit(self.folder, self.folder.read_rack(), self.tftp, mac=mac, wait=patience)
            if whole(found):
                break
        return found


@contextmanager
def open_bench(path: Path, offset: int) -> Iterator[Bench]:
    """offset: added to the third number of the tests' network, so that no two files share a bridge."""
    before = os.environ.get("RACKCTL_LAB", "10.98.77.1/24")
    own = ipaddress.IPv4Interface(before)
    os.environ["RACKCTL_LAB"] = f"{own.ip + 256 * offset}/24"
    made = Bench(path)
    lab.set_up_network(made.image, made.network)
    try:
        with peers.open_bridge(made.network.bridge):
            yield made
    finally:
        apply.bring_down(made.folder)
        lab.remove_network(made.image, made.network)
        os.environ["RACKCTL_LAB"] = before
        assert not peers.docker(
            "ps", "-q", "--filter", f"label={peers.LABEL}", "--filter", f"label=net={made.net}"
        ).split()


def from_all(*servers: str) -> Callable[[Audit], bool]:
    """Whether each of these servers has answered."""
    return lambda audit: {answer.server for answer in audit.answers} >= set(servers)


def is_clean(audit: Audit) -> bool:
    """Whether somebody answered, and nothing is wrong."""
    return bool(audit.answers) and not names(audit)


def names(audit: Audit) -> set[str]:
    """The names of its problems, notes left out."""
    return {problem.name for problem in audit.problems if problem.level != "note"}
