"""`rackctl mac bless --run` against a real sshd and sudo; only macOS' own programs are stand-ins."""

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cli import RACKCTL
from typer.testing import CliRunner

from rackctl.adapters import ssh
from rackctl.cli import macbless  # noqa: F401 registers the command
from rackctl.cli.app import app

HERE = Path(__file__).parent.parent / "maclike"
TAG = "rackctl/maclike:test"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not shutil.which("ssh"), reason="this machine has no ssh: install openssh-client"),
]
MACS = {
    "free": ("macos=10.9.5 model=Evil\x1b[2J efi=EFI64 sip=disabled", ""),
    "guarded": ("macos=10.13.6 model=Macmini6,2 efi=EFI64 sip=enabled", ""),
    "allowed": ("macos=10.13.6 model=Macmini6,2 efi=EFI64 sip=enabled allowed=10.0.0.5", ""),
    "asks": ("macos=10.6.8 model=Macmini2,1 efi=EFI32 sip=unknown", "yes"),
}


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """Of a machine that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_CONNECT", 60)
    monkeypatch.setattr(ssh, "_TIMEOUT", 120)


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory, silent_port: int) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("rack")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    docker("build", "-q", "-t", TAG, str(HERE))
    key = (folder / "key.pub").read_text().strip()
    made: dict[str, str] = {}
    try:
        for name, (facts, asks) in MACS.items():
            options = ["--label", "org.rackctl.role=test", "-e", f"FACTS={facts}", "-e", f"SUDO_ASKS={asks}"]
            made[name] = docker("run", "-d", "--rm", *options, "-e", f"KEY={key}", TAG)
        config, nodes = f"Host mute\n  HostName 127.0.0.1\n  Port {silent_port}\n", ""
        for number, (name, container) in enumerate(made.items(), 1):
            where = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
            config += f"Host {name}\n  HostName {where}\n  User admin\n"
            what = "mac_model: 'Macmini6,1'" if name == "free" else "apple: true"
            nodes += f"  {name}: {{mac: '00:16:cb:00:00:0{number}', {what}}}\n"
        common = f"Host *\n  IdentityFile {folder / 'key'}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
        (folder / "ssh").write_text(config + common + f"  UserKnownHostsFile {folder / 'known'}\n  LogLevel ERROR\n")
        nodes += "  mute: {mac: '00:16:cb:00:00:08', apple: true}\n"
        nodes += "  gone: {mac: '00:16:cb:00:00:09', apple: true, ssh: admin@192.0.2.9}\n"
        (folder / "rack.yml").write_text(f"server: {{address: 10.0.0.5}}\nmac: {{bsdp: true}}\nnodes:\n{nodes}")
        for name in made:
            until_it_answers(folder, name)
        yield folder
    finally:
        for container in made.values():
            docker("rm", "-f", container)


def until_it_answers(folder: Path, name: str) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        done = subprocess.run(
            ["ssh", "-o", "BatchMode=yes", "-F", str(folder / "ssh"), name, "true"], capture_output=True
        )
        if done.returncode == 0:
            return
        time.sleep(0.1)
    pytest.fail(f"{name}: {done.stderr!r}")


def bless(rack: Path, *words: str, typed: str = "") -> tuple[int, str]:
    argv = ["mac", "bless", *words, "--run", "--rack", str(rack), "--ssh-config", str(rack / "ssh")]
    done = CliRunner().invoke(app, argv, input=typed)
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def blessed(rack: Path, name: str) -> str:
    argv = ["ssh", "-F", str(rack / "ssh"), name, "tail -n 1 /etc/mac/blessed"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120).stdout.strip()


@pytest.mark.serial
def test_all_at_once_and_each_says_what_became_of_it(rack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_CONNECT", 3)
    start = time.monotonic()
    _, out = bless(rack, "--all", "--json")
    assert time.monotonic() - start < 30, "the one that is off does not hold up the others for long"
    found = json.loads(out[: out.index("}}") + 2])
    assert {name: one["ok"] for name, one in found.items()} == {
        "free": True, "guarded": False, "allowed": True, "asks": False, "mute": False, "gone": False,
    }  # fmt: skip
    assert found["guarded"]["remedy"] == "once, in Recovery: csrutil netboot add 10.0.0.5"
    assert "password" in found["asks"]["error"]
    assert "--ask-password" in found["asks"]["remedy"]
    assert found["mute"]["error"].startswith("ssh mute failed")
    assert found["free"]["notes"][-1].startswith("it says that it is a Evil\x1b[2J")
    assert "1 of 1 failed" in bless(rack, "gone")[1]
    assert blessed(rack, "free") == "--netboot --server bsdp://10.0.0.5"
    assert blessed(rack, "guarded") == ""


def test_nextonly_and_undo(rack: Path) -> None:
    assert bless(rack, "allowed", "--nextonly")[0] == 0
    assert blessed(rack, "allowed") == "--netboot --server bsdp://10.0.0.5 --nextonly"
    code, out = bless(rack, "allowed", "--undo")
    assert (code, "allowed: undone" in out) == (0, True)
    assert "\n  note: it says that it is a Evil?[2J;" in bless(rack, "free")[1]
    assert blessed(rack, "allowed") == "--mount / --setBoot"


@pytest.mark.serial
def test_ctrl_c_ends_at_once_and_what_was_done_has_been_told(rack: Path) -> None:
    argv = [RACKCTL, "mac", "bless", "mute", "free", "--run", "--rack", rack, "--ssh-config", rack / "ssh"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "free: blessed\n"
    start = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, "rackctl: stopped\n")
    assert time.monotonic() - start < 2, "it waited for the one that says nothing"


def test_a_master_without_ssh_is_told_what_to_install(rack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "-> install OpenSSH's client" in bless(rack, "free")[1]


def test_sudos_password_is_asked_once_and_shown_nowhere(rack: Path) -> None:
    code, out = bless(rack, "asks", "--ask-password", "--via", "tftp", typed="only four mice\n")
    assert code == 0, out
    assert "mice" not in out
    assert "write mac_efi: ia32" in out
    assert blessed(rack, "asks") == "--netboot --booter tftp://10.0.0.5/ipxe.efi"
    code, out = bless(rack, "asks", "--ask-password", typed="wrong\n")
    assert code != 0
    assert "wrong" not in out.replace("went wrong", "")
