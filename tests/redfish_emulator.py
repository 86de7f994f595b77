"""sushy-tools' emulator, a Redfish service that no one here wrote, with a fake system behind it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from rackctl.adapters.redfish import Redfish
from rackctl.core.model_bmc import Bmc
from rackctl.core.power import Order, Outcome, Verb

USER, PASSWORD = "admin", "s3cret"
UUID = "27946b59-9e44-4fa7-8e91-f3527a1ef094"

# The emulator changes the power 1 to 11 s after it said yes; its die is loaded to 1.
_MAIN = "import random; random.randint = lambda low, high: low; from sushy_tools.emulator.main import main; main()"
_CONFIG = """\
SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = {port}
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_STATE_DIR = {folder!r}
SUSHY_EMULATOR_AUTH_FILE = {folder!r} + "/htpasswd"
SUSHY_EMULATOR_SSL_CERT = {folder!r} + "/cert.pem"
SUSHY_EMULATOR_SSL_KEY = {folder!r} + "/key.pem"
SUSHY_EMULATOR_FAKE_SYSTEMS = [
    {{"uuid": {uuid!r}, "name": "one", "power_state": "Off", "external_notifier": False,
     "nics": [{{"mac": "52:54:00:00:00:01", "ip": "10.0.0.1"}}]}},
]
"""


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def order(self, verb: Verb, **changes: object) -> Order:
        """An order for its system; changes go to the Bmc where it has such a key, else to the Order."""
        keys = {"driver": "redfish", "address": "127.0.0.1", "port": self.port, "user": USER, "timeout": 30, "wait": 60,
                "ca": str(self.folder / "cert.pem")}  # fmt: skip
        keys |= {key: changes.pop(key) for key in list(changes) if key in Bmc.model_fields}
        keys = {key: value for key, value in keys.items() if value is not None}
        secret = changes.pop("secret", PASSWORD)
        return Order("r1", "52:54:00:00:00:01", Bmc(**keys), verb, secret, **changes)  # type: ignore[arg-type]

    def hang(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


@contextmanager
def running_emulator(folder: Path) -> Iterator[Emulator]:
    """Start it on a free port of the loopback, with TLS and a password."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"{USER}:{digest}\n")
    emulator = next((one for one in (_start(folder) for _ in range(5)) if one), None)
    assert emulator, (folder / "log").read_text()
    try:
        yield emulator
    finally:
        emulator.process.kill()
        emulator.process.wait()


def _start(folder: Path) -> Emulator | None:
    """None when it does not come up: somebody else may have taken the port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (folder / "emulator.conf").write_text(_CONFIG.format(port=port, folder=str(folder), uuid=UUID))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, "--config", str(folder / "emulator.conf")], stdout=log, stderr=log
        )
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return Emulator(port, folder, process)
        time.sleep(0.1)
    process.kill()
    process.wait()
    return None


def run(order: Order) -> Outcome:
    """How one order to a BMC by Redfish ended, the emulator's or another."""
    found: list[Outcome] = []
    Redfish(Path("/")).carry_out([order], found.append)
    return found[0]
