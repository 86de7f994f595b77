"""Adapter: the lab, a container with QEMU, real firmware and "the router's DHCP" on a bridge of its own."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rackctl.adapters.proc import leashed, run
from rackctl.errors import BootError, ConfigError, EngineError

_DEFAULT_NETWORK = "10.98.0.1/24"
_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SETGID")  # the last: dnsmasq drops its groups


@dataclass(frozen=True)
class Machine:
    """A virtual machine. file: what the router's DHCP names; server: its next-server; memory in MiB.

    nic: a card of compose/lab/lab.sh; clock: what its hardware clock says at power-on, like 2001-01-01T00:00:00 (UTC).
    """

    mac: str
    firmware: str
    file: str
    server: str
    memory: int = 768
    nic: str = "virtio"
    clock: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What compose/lab/lab.sh reads."""
        named = {"MAC": self.mac, "FIRMWARE": self.firmware, "FILE": self.file, "SERVER": self.server}
        named |= {"MEMORY": str(self.memory), "NIC": self.nic, "CLOCK": self.clock or "utc"}
        return {f"LAB_{key}": value for key, value in {**named, **self.facts}.items()}


@dataclass(frozen=True)
class Running:
    """A machine that was powered on. console: the serial console's bytes; router: dnsmasq's lines as JSON."""

    console: Path
    router: Path
    alive: Callable[[], bool]

    def power_on(self) -> float | None:
        """Seconds of the epoch when QEMU was started; None as long as it was not."""
        for line in self.router.read_text(errors="replace").splitlines():
            if '"lab: power on"}' in line:
                return float(json.loads(line)["t"])
        return None

    def writes(self, now: float) -> bool:
        """Whether the machine wrote to its console within the last 20 seconds; now in seconds of the epoch."""
        return self.console.exists() and now - self.console.stat().st_mtime < 20

    def complaints(self) -> str:
        """What the lab itself said, without the router's lines."""
        lines = self.router.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("{"))[-2000:]


@dataclass(frozen=True)
class Network:
    """The lab's bridge. cidr: its own address with the prefix /24; the machines get .50 to .200."""

    bridge: str
    cidr: str

    @property
    def address(self) -> str:
        """The bridge's address without the prefix: a rack can have it as its server.address."""
        return self.cidr.partition("/")[0]

    @property
    def environment(self) -> dict[str, str]:
        """What compose/lab/lab.sh reads."""
        return {"LAB_BRIDGE": self.bridge, "LAB_ADDRESS": self.cidr}


def find_network() -> Network:
    """The lab's network: 10.98.0.1/24, or what RACKCTL_LAB says, so that several labs share a machine.

    Raises ConfigError when RACKCTL_LAB is no IPv4 address with the prefix /24.
    """
    cidr = os.environ.get("RACKCTL_LAB") or _DEFAULT_NETWORK
    try:
        found = ipaddress.IPv4Interface(cidr)
    except ValueError:
        found = None
    if found is None or found.network.prefixlen != 24 or found.ip == found.network.network_address:
        raise ConfigError(
            f"{cidr!r} is no address of a /24 network", "RACKCTL_LAB", f"set it to something like {_DEFAULT_NETWORK}"
        )
    # Linux takes 15 characters for a link's name; an address in hex tells two labs apart.
    name = "rackctl-lab" if cidr == _DEFAULT_NETWORK else f"rackctl{int(found.ip):08x}"
    return Network(name, str(found))


def set_up_network(image: str, network: Network) -> None:
    """Make the lab's bridge, kept until `remove_network`; safe to run twice. Raises EngineError."""
    _change_network(image, network, "net-up")


def remove_network(image: str, network: Network) -> None:
    """Remove the bridge if it is the lab's; with machines on it, the last of them does. Raises EngineError."""
    _change_network(image, network, "net-down")


def _change_network(image: str, network: Network, verb: str) -> None:
    options = ["--cap-add", "NET_ADMIN", *_variables(network.environment)]
    run([*_docker(*options), image, verb], timeout=60, remedy=f"ip link show {network.bridge}")


@contextmanager
def power_on(machine: Machine, image: str, network: Network, folder: Path) -> Iterator[Running]:
    """Run the machine as long as the block lasts; its console and router lines go to files in `folder`.

    image: tag of the lab's image. Raises EngineError when the machine cannot be started.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not Path("/dev/net/tun").exists():
        raise EngineError("there is no /dev/net/tun", remedy="modprobe tun, then run again")
    name = machine.mac.replace(":", "")
    console, router = folder / f"{name}.console", folder / f"{name}.router.jsonl"
    variables = _variables({**machine.environment(), **network.environment, "LAB_LEASH": "1"})
    capabilities = [word for one in _CAPABILITIES for word in ("--cap-add", one)]
    kvm = ["--device", "/dev/kvm"] if Path("/dev/kvm").exists() else []
    argv = [*_docker(*capabilities, "--device", "/dev/net/tun", *kvm), *variables, image, "boot"]
    with leashed(argv, console, router) as alive:
        yield Running(console, router, alive)


def last_lines(console: Path, count: int = 12) -> str:
    """The last lines of a console as plain text; raises BootError when there is no such file."""
    try:
        raw = console.read_bytes()[-16384:]
    except OSError as absent:
        raise BootError(f"the console cannot be read: {absent}", str(console)) from absent
    text = "".join(c if c.isprintable() or c == "\n" else "" for c in raw.decode(errors="replace"))
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def _variables(named: dict[str, str]) -> list[str]:
    return [word for key, value in named.items() for word in ("-e", f"{key}={value}")]


def _docker(*options: str) -> Sequence[str]:
    limits = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "256")
    return ["docker", "run", "--rm", "-i", "--network", "host", "--label", "org.rackctl.role=lab", *limits, *options]
