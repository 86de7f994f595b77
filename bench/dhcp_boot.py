"""How long a machine takes from power-on to its boot script, by who answers the PXE question beside the same router.

    python bench/dhcp_boot.py [--rounds 5] [--firmware bios]

The same virtual machine, files, TFTP and HTTP server and router (dnsmasq, in a network namespace of its own) for all:

* rackctl    `dhcp: proxy`
* dnsmasq    the PXE set-up that dnsmasq's own manual and example file show: pxe-service lines
* pypxe      PyPXE from PyPI in its ProxyDHCP mode (one file for everybody, so BIOS alone)

Rounds rotate the order. Prints one JSON object; fails when rackctl's median is more than 10 % above the best other one.
Needs root (pypxe listens on port 67), the engine, and the peers' image of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
os.environ.setdefault("RACKCTL_LAB", "10.98.103.1/24")

import peers

from rackctl import apply, trial
from rackctl.adapters import imagebuild, lab
from rackctl.adapters.folder import RackFolder
from rackctl.core.events import Stage
from rackctl.errors import BootError

ADDRESS = os.environ["RACKCTL_LAB"].split("/")[0]
BASE = ADDRESS.rsplit(".", 1)[0]
ROUTER = f"dhcp-range={BASE}.210,{BASE}.239,255.255.255.0,1h\nno-ping\n"
FILES = {"bios": "undionly.kpxe", "uefi": "snponly.efi"}
DNSMASQ = f"""\
port=0
listen-address={ADDRESS}
bind-dynamic
dhcp-range={ADDRESS},proxy
leasefile-ro
no-ping
pxe-service=x86PC,"rack",undionly.kpxe,{ADDRESS}
pxe-service=X86-64_EFI,"rack",snponly.efi,{ADDRESS}
pxe-service=BC_EFI,"rack",snponly.efi,{ADDRESS}
"""
PATIENT = 240.0  # seconds
STAGES = ("loader", "script")


class Rack:
    """A rack on the lab's bridge, in router mode for the others and in proxy mode for rackctl."""

    def __init__(self, path: Path) -> None:
        self.folder = RackFolder(path)
        self.image = imagebuild.build_image("lab", print)
        self.network = lab.find_network()
        self.boots = 0

    def up(self, mode: str) -> None:
        text = f"server: {{address: {ADDRESS}, http_port: 8093}}\ndhcp: {mode}\n"
        (self.folder.path / "rack.yml").write_text(text)
        apply.bring_up(self.folder, lambda _: None)

    def boot(self, firmware: str) -> dict[str, float]:
        """Seconds from power-on to the loader and to the script: what comes after is the same for all."""
        self.boots += 1  # a MAC for each boot: the log of a transfer that the last one left may come late
        machine = lab.Machine(f"52:54:00:67:be:{self.boots:02x}", firmware, "", ADDRESS, facts={"DHCP": "none"})
        done = trial.boot_machine(
            self.folder, machine, self.image, lambda _: None, silence=PATIENT, until=Stage.SCRIPT
        ).timeline
        ends = {stage.name: round(stage.end - done.started, 2) for stage in done.stages}
        return {name: ends[name] for name in STAGES}


@contextmanager
def run_dnsmasq() -> Iterator[None]:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(DNSMASQ)
        file.flush()
        os.chmod(file.name, 0o644)
        name = "rackctl-bench-dnsmasq"
        caps = [f"--cap-add={one}" for one in ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SETUID", "SETGID")]
        peers.docker(
            "run", "-d", "--rm", "--name", name, "--network", "host", "--label", "org.rackctl.role=peers",
            "--cap-drop", "ALL", *caps, "-v", f"{file.name}:/c:ro", "--entrypoint", "dnsmasq", peers.image(),
            "-k", "-C", "/c", "--user=root", "--log-facility=-", "--pid-file=",
        )  # fmt: skip
        try:
            yield
        finally:
            peers.docker("rm", "-f", name, check=False)


@contextmanager
def run_pypxe(venv: Path) -> Iterator[None]:
    if not (venv / "bin" / "pypxe").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "-q", "pypxe"], check=True)
    with tempfile.TemporaryDirectory() as empty:
        child = subprocess.Popen(
            [str(venv / "bin" / "pypxe"), "--dhcp-proxy", "--no-tftp", "--no-http", "--dhcp-server-ip", ADDRESS,
             "--dhcp-fileserver", ADDRESS, "--netboot-dir", empty, "--netboot-file", FILES["bios"]],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(1.0)
            if child.poll() is not None:
                raise SystemExit(f"pypxe ended with {child.returncode}: is it run as root?")
            yield
        finally:
            child.kill()  # it does not end by SIGTERM
            child.wait(10)


@contextmanager
def run_rackctl() -> Iterator[None]:
    yield


def measure(rack: Rack, firmware: str, rounds: int, cache: Path) -> dict[str, list[dict[str, float]]]:
    contenders = {"rackctl": run_rackctl, "dnsmasq": run_dnsmasq}
    if firmware == "bios":
        contenders["pypxe"] = lambda: run_pypxe(cache)
    names, found = list(contenders), {name: [] for name in contenders}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            rack.up("proxy" if name == "rackctl" else "router")
            with contenders[name]():
                try:
                    found[name].append(rack.boot(firmware))
                except BootError as failed:
                    print(f"{name}: {failed.message.splitlines()[0]}", file=sys.stderr)
                    found[name].append({})
            print(f"round {number + 1} {firmware} {name}: {found[name][-1]}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--firmware", choices=FILES, action="append")
    asked = parser.parse_args()
    cache = Path.home() / ".cache" / "rackctl" / "bench-pypxe"
    report, bad = {}, []
    with tempfile.TemporaryDirectory() as path:
        rack = Rack(Path(path))
        lab.set_up_network(rack.image, rack.network)
        try:
            with (
                peers.open_bridge(rack.network.bridge),
                peers.serve("dnsmasq", ROUTER, rack.network.bridge, f"{BASE}.2/24"),
            ):
                for firmware in asked.firmware or list(FILES):
                    rows = measure(rack, firmware, asked.rounds, cache)
                    medians = {
                        name: {stage: statistics.median(one[stage] for one in boots if one) for stage in STAGES}
                        for name, boots in rows.items()
                        if any(boots)
                    }
                    report[firmware] = {"medians": medians, "boots": rows}
                    best = min(m["script"] for name, m in medians.items() if name != "rackctl")
                    if medians["rackctl"]["script"] > best * 1.1:
                        bad.append(f"{firmware}: {medians['rackctl']['script']} s, the best other {best} s")
        finally:
            apply.bring_down(rack.folder)
            lab.remove_network(rack.image, rack.network)
    print(json.dumps(report, indent=1))
    if bad:
        raise SystemExit("slower than the best other by more than 10 %: " + "; ".join(bad))


if __name__ == "__main__":
    main()
