"""A container with dhcpd, dnsmasq and Kea, each in a network namespace of its own on one bridge."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
SERVER, RESPONDER = "10.99.0.1", "10.99.0.2"


def run(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout + ("" if check else done.stderr)


def build() -> str:
    inputs = b"".join((HERE / name).read_bytes() for name in ("Dockerfile", "net.sh", "bsdp_client.py"))
    tag = f"rackctl/netlab:{hashlib.sha256(inputs).hexdigest()[:16]}"
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True).returncode:
        run("docker", "build", "-q", "-t", tag, str(HERE))
    return tag


@contextmanager
def started(*bridge: str) -> Iterator["Netlab"]:
    """bridge: nothing, or a bridge of the host and the Mac's address on it."""
    options = ["--network", "host" if bridge else "none", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN"]
    options += ["--security-opt", "apparmor=unconfined", "--label", "org.rackctl.role=test"]
    name = run("docker", "run", "-d", "--rm", *options, build(), "bash", "/netlab/net.sh", *bridge).strip()
    try:
        lab = Netlab(name)
        lab.until("test -e /run/netlab.ready")
        yield lab
    finally:
        run("docker", "rm", "-f", name)


class Netlab:
    def __init__(self, container: str) -> None:
        self.container = container

    def sh(self, command: str, stdin: str | None = None, check: bool = True) -> str:
        return run("docker", "exec", "-i", self.container, "bash", "-c", command, stdin=stdin, check=check)

    def until(self, command: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.sh(f"{command} && echo yes || true").endswith("yes\n"):
            logs = "" if time.monotonic() < end else self.sh("tail -n 30 /tmp/*.log || true")
            assert time.monotonic() < end, f"not within {seconds} s: {command}\n{logs}"
            time.sleep(0.05)

    def write(self, path: str, content: str) -> None:
        self.sh(f"mkdir -p $(dirname {path}) && cat >{path}", stdin=content)

    def put(self, file: Path, path: str) -> None:
        run("docker", "cp", "-q", str(file), f"{self.container}:{path}")

    def ask(self, *requests: dict[str, object]) -> list[object]:
        """One answer list per request."""
        out = self.sh("exec nsenter --net=/run/netns/cli python3 /netlab/bsdp_client.py", stdin=json.dumps(requests))
        return list(json.loads(out))

    @contextmanager
    def serving(self, command: str, namespace: str = "srv", port: int = 67) -> Iterator[None]:
        """A server, once it listens on its UDP port, as long as the block lasts."""
        name = namespace if port == 67 else f"{namespace}-{port}"
        start = f"echo $$ >/tmp/{name}.pid; exec nsenter --net=/run/netns/{namespace} {command}"
        run("docker", "exec", "-d", self.container, "bash", "-c", f"exec >/tmp/{name}.log 2>&1; {start}")
        try:
            self.until(f"nsenter --net=/run/netns/{namespace} ss -Hlun 'sport = :{port}' | grep -q .")
            yield
        finally:
            wait = "kill $pid; while kill -0 $pid; do sleep 0.05; done"
            self.sh(f"pid=$(cat /tmp/{name}.pid); {{ {wait}; }} 2>/dev/null", check=False)
