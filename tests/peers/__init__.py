"""DHCP servers that rackctl did not write, each in a container, on a link of its own where it serves."""

import hashlib
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_READY = {
    "dhcpd": "Server starting service",
    "kea": "DHCP4_STARTED",
    "dnsmasq": "DHCP, ",
    "neighbour": "peer: serving",
    "perl": "perl: serving",
}
FOLDER = Path(__file__).parent
LABEL = "org.rackctl.role=peers"


def docker(*words: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], input=stdin, capture_output=True, text=True, timeout=300)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(words[:6])}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout + done.stderr if not check else done.stdout


def image() -> str:
    """Tag of the servers' image, built when it is not there."""
    total = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in ("Dockerfile", "peer.sh"))).hexdigest()
    tag = f"rackctl/peers:{total[:16]}"
    if not docker("image", "ls", "-q", tag):
        docker("build", "-q", "-t", tag, str(FOLDER))
    return tag


def check(kind: str, config: str) -> str:
    """What the server itself says of its file; fails when it refuses."""
    return docker("run", "--rm", "-i", "--network", "none", image(), "check", kind, stdin=config)


@contextmanager
def serve(kind: str, config: str, bridge: str, *addresses: str):
    """Run the server in a network namespace of its own with a link into the bridge; yields its container's name."""
    name, net = f"rackctl-dhcp-{uuid.uuid4().hex[:8]}", addresses[0].rpartition(".")[0] if addresses else ""
    caps = [word for one in ("NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE", "SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE")
            for word in ("--cap-add", one)]  # fmt: skip
    with tempfile.TemporaryFile() as said, subprocess.Popen(
        ["docker", "run", "--rm", "-i", "--name", name, "--network", "none", "--cap-drop", "ALL", *caps,
         "--label", LABEL, "--label", f"net={net}", image(), "serve", kind, *addresses],
        stdin=subprocess.PIPE, stdout=said, stderr=said, text=True,
    ) as child:  # fmt: skip
        try:
            child.stdin.write(config)
            child.stdin.close()
            _plug(name, bridge)
            _await(name, _READY[kind], said)
            yield name
        finally:
            docker("rm", "-f", name, check=False)


def _plug(name: str, bridge: str) -> None:
    """A veth pair: one end into the bridge, the other into the container's namespace as rack0."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pid = docker("inspect", "--format", "{{.State.Pid}}", name, check=False).strip()
        if pid.isdigit() and pid != "0":
            break
        time.sleep(0.1)
    port = f"dhcp{int(pid):x}"[:15]
    host(f"ip link add {port} type veth peer name rack0 netns {pid} && ip link set {port} master {bridge} "
         f"&& ip link set {port} up")  # fmt: skip


def host(script: str) -> None:
    """Run a line of shell in the machine's own network namespace."""
    docker("run", "--rm", "--network", "host", "--pid", "host", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN",
           "--cap-add", "NET_RAW", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--label", LABEL,
           "--entrypoint", "sh", image(), "-c", script)  # fmt: skip


@contextmanager
def open_bridge(bridge: str):
    """Let frames pass from one port of the bridge to another: Docker's FORWARD policy drops them (br_netfilter)."""
    rule = f"DOCKER-USER -i {bridge} -o {bridge} -j ACCEPT"
    host(f"iptables -w -C {rule} 2>/dev/null || iptables -w -I {rule}")
    try:
        yield
    finally:
        host(f"iptables -w -D {rule}")


def _await(name: str, word: str, said: IO[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        said.seek(0)
        log = said.read().decode(errors="replace")
        if word in log:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} did not say {word!r}: {log[-2000:]}")


def read_file(path: str) -> bytes:
    """A file of the servers' image."""
    done = subprocess.run(
        ["docker", "run", "--rm", "--entrypoint", "cat", image(), path], capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
