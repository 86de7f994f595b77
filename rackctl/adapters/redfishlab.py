"""Adapter: the virtual rack's Redfish: sushy-tools' emulator in a process of its own, the lab's machines behind it.

`python -m rackctl.adapters.redfishlab CONFIG` is that process; it ends with the signal that `stop_redfish` sends.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rackctl.adapters.proc import run, start_detached
from rackctl.core.labrack import USER, LabNode
from rackctl.errors import ConfigError, EngineError, RackError

_MODULE = "rackctl.adapters.redfishlab"
_READY = 60.0  # seconds; two where nothing else runs
_INSTALL = "pip install 'rackctl[lab]', or pipx inject rackctl sushy sushy-tools"
# What the emulator asks of a system, in the words of compose/lab/chassis.sh.
_POWER = {
    "On": ("power", "1"), "ForceOn": ("power", "1"), "ForceOff": ("power", "0"), "GracefulShutdown": ("shutdown", "1"),
    "ForceRestart": ("reset", "1"), "GracefulRestart": ("reset", "1"),
}  # fmt: skip


def start_redfish(work: Path, container: str, nodes: Sequence[LabNode], port: int, password: str) -> None:
    """Start the emulator at the lab's address for machines that run in `container`. Raises ConfigError, EngineError."""
    if not importlib.util.find_spec("sushy_tools"):
        raise ConfigError("the virtual rack's Redfish needs sushy-tools", remedy=_INSTALL)
    import bcrypt

    stop_redfish(work)
    folder = work / "lab" / "redfish"
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "htpasswd"
    secret.touch(mode=0o600)
    secret.write_text(f"{USER}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(8)).decode()}\n")
    settings = {
        "SUSHY_EMULATOR_LISTEN_IP": nodes[0].address, "SUSHY_EMULATOR_LISTEN_PORT": port,
        "SUSHY_EMULATOR_FAKE_DRIVER": True, "SUSHY_EMULATOR_STATE_DIR": str(folder),
        "SUSHY_EMULATOR_AUTH_FILE": str(secret),
        "SUSHY_EMULATOR_FAKE_SYSTEMS": [
            {"uuid": n.uuid, "name": n.name, "power_state": "Off", "external_notifier": False, "container": container,
             "nics": [{"mac": n.mac, "ip": ""}]} for n in nodes
        ],
    }  # fmt: skip
    config = folder / "emulator.conf"
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in settings.items()))
    pid = start_detached([sys.executable, "-m", _MODULE, "--config", str(config)], folder / "log")
    (folder / "pid").write_text(str(pid))
    limit = time.monotonic() + _READY
    while time.monotonic() < limit:
        with socket.socket() as sock:
            if sock.connect_ex((nodes[0].address, port)) == 0:
                return
        time.sleep(0.1)
    said = (folder / "log").read_text(errors="replace")[-500:]
    stop_redfish(work)
    raise EngineError(f"the virtual rack's Redfish does not start: {said}", remedy=f"is port {port} taken? ss -tlnp")


def stop_redfish(work: Path) -> bool:
    """Stop the emulator of this rack; False when none ran."""
    file = work / "lab" / "redfish" / "pid"
    with suppress(OSError, ValueError):
        pid = int(file.read_text())
        file.unlink()
        # A number can belong to another process by now.
        if _MODULE.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
            return True
    return False


def _serve() -> None:
    from sushy_tools.emulator import main as emulator
    from sushy_tools.emulator.resources.systems import fakedriver
    from sushy_tools.error import NotSupportedError

    class LabSystems(fakedriver.FakeDriver):  # type: ignore[misc]
        """The emulator's fake systems, with real machines for their power and boot device."""

        def _chassis(self, identity: str, *words: str) -> str:
            system: dict[str, Any] = self._get(identity)
            argv = ["docker", "exec", system["container"], "chassis.sh", f"/bmcs/{system['name']}", *words]
            try:
                return run(argv, timeout=30).decode().strip()
            except RackError as wrong:
                raise NotSupportedError(wrong.message) from wrong

        def get_power_state(self, identity: str) -> str:
            return "On" if self._chassis(identity, "get", "power") == "power:1" else "Off"

        def set_power_state(self, identity: str, state: str) -> None:
            if state not in _POWER:
                raise NotSupportedError(f"Power state {state} is not supported")
            self._chassis(identity, "set", *_POWER[state])

        def get_boot_device(self, identity: str) -> str:
            return "Pxe" if self._chassis(identity, "get", "boot") == "boot:pxe" else "Hdd"

        def set_boot_device(self, identity: str, boot_source: str) -> None:
            self._chassis(identity, "set", "boot", "pxe" if boot_source == "Pxe" else "default")

    fakedriver.FakeDriver = LabSystems
    emulator.main()


if __name__ == "__main__":
    _serve()
