"""Wake-on-LAN on a real socket, the user's own programs, and where secrets come from."""

import socket
from pathlib import Path

import pytest

from rackctl.adapters.command import Command
from rackctl.adapters.secrets import Secrets
from rackctl.adapters.wol import Wol
from rackctl.core.model_bmc import Bmc
from rackctl.core.power import Driver, Fault, Order, Outcome, Verb
from rackctl.core.wol import magic_packet
from rackctl.errors import ConfigError

MAC = "52:54:00:12:34:56"


def run(driver: Driver, verb: Verb, bmc: dict[str, object], **more: object) -> Outcome:
    found: list[Outcome] = []
    driver.carry_out([Order("n", MAC, Bmc(**bmc), verb, **more)], found.append)  # type: ignore[arg-type]
    return found[0]


def test_the_packet_arrives_by_broadcast() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("0.0.0.0", 0))
        listener.settimeout(60)
        port = listener.getsockname()[1]
        bmc = {"driver": "wol", "broadcast": "127.255.255.255", "port": port}
        outcome = run(Wol("127.0.0.1"), Verb.ON, bmc, secureon="00:11:22:33:44:55")
        assert listener.recv(256) == magic_packet(MAC, "00:11:22:33:44:55")
    assert (outcome.state, outcome.ok) == ("sent", True)  # never "on": nothing answers


def test_wake_on_lan_can_do_no_more() -> None:
    assert run(Wol("127.0.0.1"), Verb.OFF, {"driver": "wol"}).fault is Fault.UNSUPPORTED
    assert run(Wol("127.0.0.1"), Verb.STATUS, {"driver": "wol"}).state == "unknown"
    assert run(Wol("127.0.0.1"), Verb.ON, {"driver": "wol"}, secureon="x").fault is Fault.LOCAL


@pytest.fixture
def plug(tmp_path: Path) -> dict[str, object]:
    """A smart plug: a program with a state in a file, and its password on stdin."""
    program = tmp_path / "plug"
    program.write_text(
        f"#!/bin/sh\nread secret; [ \"$secret\" = open ] || {{ echo 'wrong password' >&2; exit 3; }}\n"
        f'case $2 in status) echo "power: $(cat {tmp_path}/state)" ;; *) echo "$1 $2" >>{tmp_path}/calls;'
        f" echo $2 >{tmp_path}/state ;; esac\n"
    )
    program.chmod(0o755)
    (tmp_path / "state").write_text("off")
    verbs = {verb: [str(program), "{mac}", verb] for verb in ("on", "off", "status")}
    return {"driver": "command", "timeout": 60, "wait": 60, **verbs}


def test_a_users_own_program(plug: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rackctl.adapters.command._OFF_PAUSE", 0.1)
    states = [
        run(Command(), verb, plug, password="open").state for verb in (Verb.STATUS, Verb.ON, Verb.CYCLE, Verb.OFF)
    ]
    assert states == ["off", "on", "on", "off"]
    assert (tmp_path / "calls").read_text().splitlines() == [f"{MAC} {word}" for word in ("on", "off", "on", "off")]


def test_a_users_own_program_that_fails(plug: dict[str, object]) -> None:
    outcome = run(Command(), Verb.ON, plug, password="wrong")
    assert (outcome.fault, "wrong password" in outcome.text) == (Fault.REFUSED, True)
    assert run(Command(), Verb.RESET, plug, password="open").fault is Fault.REFUSED  # it is off
    assert run(Command(), Verb.STATUS, {"driver": "command", "status": ["/no/such"]}).fault is Fault.LOCAL
    slow = {"driver": "command", "status": ["sleep", "9"], "timeout": 1}
    assert run(Command(), Verb.STATUS, slow).fault is Fault.TIMEOUT
    assert run(Command(), Verb.STATUS, {"driver": "command", "status": ["echo", "hm"]}).fault is Fault.REFUSED


def test_where_a_secret_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RACKCTL_BMC_PASSWORD", "IPMI_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "secrets").mkdir()
    file = tmp_path / "secrets" / "bmc"
    asked: list[str] = []
    secrets = Secrets(tmp_path, lambda prompt: asked.append(prompt) or "typed")
    assert secrets.find(None, "who") == secrets.find("prompt", "who") == "typed"
    assert asked == ["who"]
    file.write_text("from file\n")
    file.chmod(0o600)
    assert secrets.find("secrets/bmc", "") == secrets.find(None, "") == "from file"
    monkeypatch.setenv("IPMI_PASSWORD", "from env")
    assert secrets.find(None, "") == secrets.find("env:IPMI_PASSWORD", "") == "from env"


def test_a_secret_that_is_not_there_or_not_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "open").write_text("canary")
    (tmp_path / "secrets" / "open").chmod(0o644)
    (tmp_path / "secrets" / "empty").write_text("\n")
    (tmp_path / "secrets" / "empty").chmod(0o600)
    for reference in ("secrets/none", "secrets/open", "secrets/empty", "env:NOT_SET", "prompt"):
        with pytest.raises(ConfigError) as caught:
            Secrets(tmp_path, None).find(reference, "who")
        assert caught.value.remedy
        assert "canary" not in str(caught.value)
