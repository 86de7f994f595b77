"""What is taken for the proof of a boot: the request for a script, and the port that Serial over LAN shows."""

from pathlib import Path

import pytest

from rackctl.adapters.labprove import Order, Proof, prove
from rackctl.errors import BootError

ASKED = """request: {"uri":"/boot/52-54-00-00-00-01.ipxe?platform=pcbios","scheme":"http"}"""


def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, serial: int | None) -> Proof:
    """Prove a loader whose lab says this on stderr."""
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun")
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    order = Order(tmp_path / "ipxe.pxe", tmp_path, "net", "bios", "10.98.0.1", 83, serial=serial)
    return prove(order, "image", tmp_path / "logs", print)


def test_the_port_where_ipxe_must_show_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = play(tmp_path, monkeypatch, f"{ASKED}\nserial: \x1b[1miPXE 2.0.0\nserial: round 1", 2)
    assert proof.facts == {"platform": "pcbios"} and proof.serial.endswith("iPXE 2.0.0\nround 1")


@pytest.mark.parametrize(
    ("said", "serial", "says"),
    [(ASKED, 3, "ipxe.pxe boots, and shows nothing on COM3"), ("serial: iPXE", 2, "did not ask for its boot script")],
    ids=["silent-port", "no-request"],
)
def test_what_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, serial: int, says: str) -> None:
    with pytest.raises(BootError, match=says):
        play(tmp_path, monkeypatch, said, serial)


def test_no_port_is_looked_at_where_none_is_ordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(tmp_path, monkeypatch, ASKED, None).serial == ""
