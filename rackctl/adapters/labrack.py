"""Adapter: the virtual rack's BMCs, one container with an ipmi_sim for each machine, which starts and stops QEMU."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rackctl.adapters.proc import run
from rackctl.core.labrack import SECRET, LabNode, Protocol, render_lab_rack, render_machine
from rackctl.errors import ConfigError, EngineError, RackError

# As compose/lab needs them; the last is ipmi_sim's, whose files the user's folder holds.
_CAPABILITIES = ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SETGID", "DAC_OVERRIDE", "KILL")
_READY = 60.0  # seconds; half a second where nothing else runs


def bmcs_name(project: str) -> str:
    """Name of the container with the BMCs of a rack."""
    return f"{project}-bmcs"


def write_rack(folder: Path, nodes: Sequence[LabNode], http_port: int, password: str, protocol: Protocol) -> bool:
    """Write rack.yml and its secret; False when both are there already, from an earlier `lab up` with as many nodes.

    Raises ConfigError when another rack.yml is there.
    """
    file, secret = folder / "rack.yml", folder / SECRET
    if file.exists():
        if all(f'"{node.mac}"' in file.read_text() for node in nodes) and secret.exists():
            return False
        raise ConfigError("another rack.yml is there already", str(file), "name an empty folder: --rack DIR")
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    file.write_text(render_lab_rack(nodes, http_port, protocol))
    return True


def start_bmcs(
    project: str, work: Path, image: str, nodes: Sequence[LabNode], network: Mapping[str, str], memory: int
) -> None:
    """Start the BMCs; the machines are off. Those of an earlier run are stopped first. Raises EngineError."""
    stop_bmcs(project)
    if not Path("/dev/net/tun").exists():
        raise EngineError("there is no /dev/net/tun", remedy="modprobe tun, then run again")
    folder, served = work / "lab" / "bmcs", work / "served"
    shutil.rmtree(folder, ignore_errors=True)
    served.mkdir(parents=True, exist_ok=True)
    password = (work.parent / SECRET).read_text().strip()
    for node in nodes:
        (folder / node.name).mkdir(parents=True)
        (folder / node.name / "machine.env").write_text(render_machine(node, network, memory))
        secret = folder / node.name / "password"
        secret.touch(mode=0o600)
        secret.write_text(password)
    capabilities = [word for one in _CAPABILITIES for word in ("--cap-add", one)]
    kvm = ["--device", "/dev/kvm"] if Path("/dev/kvm").exists() else []
    limits = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "1024"]
    volumes = ["-v", f"{folder}:/bmcs", "-v", f"{served}:/served:ro"]
    run(
        ["docker", "run", "-d", "--rm", "--name", bmcs_name(project), "--network", "host", *limits, *capabilities,
         "--label", "org.rackctl.role=lab-bmcs", "--device", "/dev/net/tun", *kvm, *volumes,
         "--entrypoint", "/usr/local/bin/bmcs.sh", image],
        timeout=60,
    )  # fmt: skip
    _await(project, folder, nodes)


def _await(project: str, folder: Path, nodes: Sequence[LabNode]) -> None:
    limit = time.monotonic() + _READY
    logs = [folder / node.name / "sim.log" for node in nodes]
    while not all(log.exists() and "Opened UDP port" in log.read_text(errors="replace") for log in logs):
        if time.monotonic() > limit:
            said = "; ".join(log.read_text(errors="replace")[-300:] for log in logs if log.exists())
            stop_bmcs(project)
            raise EngineError(f"the virtual BMCs do not start: {said}", remedy="is their UDP port taken? ss -ulnp")
        time.sleep(0.1)


def stop_bmcs(project: str) -> bool:
    """Stop the BMCs and their machines; False when none ran."""
    try:
        run(["docker", "stop", "-t", "20", bmcs_name(project)], timeout=60)
    except RackError:
        return False
    for _ in range(300):  # --rm removes the name a moment later
        try:
            run(["docker", "container", "inspect", bmcs_name(project)], timeout=20)
        except RackError:
            break
        time.sleep(0.1)
    return True


def free_http_port(address: str) -> int:
    """83, or another port that is free at the lab's address."""
    for port in (83, 8083, 8183):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((address, port))
            except OSError:
                continue
            return port
    return 83
