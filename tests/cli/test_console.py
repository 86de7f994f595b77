"""rackctl console against ipmi_sim: the test is the machine at the other end of the serial line."""

import os
import pty
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bmc_sims import PASSWORD, running_sims

RACKCTL = str(Path(sys.executable).with_name("rackctl"))


def read_until(read: int, wanted: bytes, seconds: float = 60) -> bytes:
    """What comes from a file descriptor until it holds `wanted`."""
    got, limit = b"", time.monotonic() + seconds
    while wanted not in got:
        ready, _, _ = select.select([read], [], [], max(0, limit - time.monotonic()))
        assert ready, f"{wanted!r} did not come: {got!r}"
        try:
            chunk = os.read(read, 65536)
        except OSError:  # how a terminal says that nobody is there any more
            chunk = b""
        assert chunk, f"the end came before {wanted!r}: {got!r}"
        got += chunk
    return got


@pytest.mark.engine
def test_what_the_machine_prints_and_what_is_typed(tmp_path: Path) -> None:
    (tmp_path / "rack").mkdir()
    with socket.create_server(("127.0.0.1", 16501)) as machine, running_sims(tmp_path / "bmcs", 1, 15500) as (sim,):
        (tmp_path / "rack" / "rack.yml").write_text(
            "server: {address: 127.0.0.1}\nnodes: {n: {mac: '52:54:00:00:00:01', bmc: "
            f"{{driver: ipmi, address: 127.0.0.1, port: {sim.port}, user: admin, password: 'env:PW', cipher: 3}}}}}}\n"
        )
        machine.settimeout(60)
        line, _ = machine.accept()
        outside, inside = pty.openpty()
        log = tmp_path / "console.log"
        child = subprocess.Popen(
            [RACKCTL, "console", "n", "--log", str(log), "--rack", str(tmp_path / "rack")],
            stdin=inside, stdout=inside, stderr=inside, env={**os.environ, "PW": PASSWORD}, start_new_session=True,
        )  # fmt: skip
        os.close(inside)
        shown = read_until(outside, b"SOL Session operational")
        assert b"Enter ~ . ends it" in shown
        line.sendall(b"login: ")
        shown += read_until(outside, b"login: ")
        os.write(outside, b"root\x03\r")
        assert b"root\x03\r" in read_until(line.fileno(), b"\r")  # Ctrl-C too is the machine's
        os.write(outside, b"~.")
        shown += read_until(outside, b"terminated ipmitool")
        assert child.wait(60) == 0
        assert PASSWORD.encode() not in shown
        assert b"login: " in log.read_bytes()
        os.close(outside)
    argv = ["docker", "ps", "--no-trunc", "--filter", "label=org.rackctl.role=ipmi", "--format", "{{.Command}}"]
    assert f"-p {sim.port} " not in subprocess.run(argv, capture_output=True, text=True, check=True).stdout
