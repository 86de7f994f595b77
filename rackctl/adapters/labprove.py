"""Adapter: boots one iPXE binary in the lab, in a network of its own, and reads what it asked for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from rackctl.adapters.lab import last_lines
from rackctl.adapters.proc import leashed
from rackctl.errors import BootError, EngineError

_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SETGID")  # as in the lab
_REQUEST = re.compile(r"^request: (\{.*\})$", re.M)
_SERIAL = re.compile(r"^serial: (.*)$", re.M)
SECONDS = 180  # an emulated machine on two busy cores needs up to 60 of them


@dataclass(frozen=True)
class Order:
    """file: what to boot. kind: net, usb, iso, or kernel for what a BIOS boot loader loads. firmware: of the lab.

    any_request: a script of the user's own need not ask for /boot/. serial: a PC's port, 2 to 4, whose words are kept;
    with a BIOS iPXE must show itself there (UEFI writes to it too). more: further variables of compose/lab/prove.sh.
    """

    file: Path
    folder: Path
    kind: str
    firmware: str
    address: str
    http_port: int
    https_port: int | None = None
    tls: Path | None = None
    vlan: int | None = None
    any_request: bool = False
    serial: int | None = None
    more: tuple[tuple[str, str], ...] = ()

    def variables(self) -> dict[str, str]:
        """What compose/lab/prove.sh reads."""
        named = {
            "FILE": self.file.relative_to(self.folder).as_posix(),
            "KIND": self.kind,
            "FIRMWARE": self.firmware,
            "ADDRESS": self.address,
            "HTTP": str(self.http_port),
            "HTTPS": str(self.https_port or ""),
            "VLAN": str(self.vlan or ""),
            "SERIAL": str(self.serial or ""),
            "ANY": "1" if self.any_request else "",
            "SECONDS": str(SECONDS),
        }
        return {f"PROVE_{key}": value for key, value in (named | dict(self.more)).items() if value}


@dataclass(frozen=True)
class Proof:
    """What was seen. facts: of the query that the script was asked for with; seconds: from power-on to that.

    serial: what iPXE wrote to the order's serial port.
    """

    request: str
    scheme: str
    facts: dict[str, str]
    seconds: float
    console: Path
    serial: str = ""


def prove(order: Order, image: str, logs: Path, report: Callable[[str], None]) -> Proof:
    """Boot it until it asks for a script. logs: a folder for the console. Raises BootError with the console's end."""
    logs.mkdir(parents=True, exist_ok=True)
    name = f"prove-{order.file.name}-{order.firmware}"
    console, said = logs / f"{name}.console", logs / f"{name}.log"
    if not Path("/dev/net/tun").exists():
        raise EngineError("there is no /dev/net/tun", remedy="modprobe tun, then run again")
    began = told = time.monotonic()
    with leashed(_command(order, image), console, said, grace=20.0) as alive:
        while alive():
            time.sleep(0.1)
            if time.monotonic() - told > 10:
                told = time.monotonic()
                report(f"  {order.firmware}: {told - began:.0f} s, waiting for its script's request")
    text = said.read_text(errors="replace")
    asked = [json.loads(one) for one in _REQUEST.findall(text)]
    good = [one for one in asked if order.any_request or one["uri"].startswith("/boot/")]
    if not good:
        tail = last_lines(console, 14) or text[-1500:]
        raise BootError(
            f"{order.file.name} did not ask for its boot script on {order.firmware}\n{tail}",
            str(console),
            f"the router's and the server's words are in {said}",
        )
    shown = "\n".join(_SERIAL.findall(text))
    if order.serial and order.firmware == "bios" and "iPXE" not in shown:
        port, remedy = f"COM{order.serial}", "leave out console: {serial: ...}, or build it again"
        raise BootError(f"{order.file.name} boots, and shows nothing on {port}", str(console), remedy)
    query = parse_qs(urlsplit(good[0]["uri"]).query, keep_blank_values=True)
    facts = {key: values[0] for key, values in query.items()}
    return Proof(good[0]["uri"], good[0]["scheme"], facts, time.monotonic() - began, console, shown)


def _command(order: Order, image: str) -> list[str]:
    argv = ["docker", "run", "--rm", "-i", "--network", "none", "--label", "org.rackctl.role=lab"]
    argv += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "256"]
    for one in _CAPABILITIES:
        argv += ["--cap-add", one]
    argv += ["--device", "/dev/net/tun", "-v", f"{order.folder}:/files:ro"]
    if order.tls:
        argv += ["-v", f"{order.tls}:/tls:ro"]
    for key, value in order.variables().items():
        argv += ["-e", f"{key}={value}"]
    return [*argv, "--entrypoint", "/usr/local/bin/prove.sh", image]
