"""`rackctl mac bless --run` against a real sshd and sudo; only macOS' own programs are stand-ins."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rackctl.cli import macbless  # noqa: F401 registers the command
from rackctl.cli.app import app

HERE = Path(__file__).parent.parent / "maclike"
TAG = "rackctl/maclike:test"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not shutil.which("ssh"), reason="this machine has no ssh: install openssh-client"),
]
MACS = {
    "free": ("macos=10.9.5 model=Macmini6,2 efi=EFI64 sip=disabled", ""),
    "guarded": ("macos=10.13.6 model=Macmini6,2 efi=EFI64 sip=enabled", ""),
    "allowed": ("macos=10.13.6 model=Macmini6,2 efi=EFI64 sip=enabled allowed=10.0.0.5", ""),
    "asks": ("macos=10.6.8 model=Macmini2,1 efi=EFI32 sip=unknown", "yes"),
}


def docker(*argv: str) -> str:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("rack")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    docker("build", "-q", "-t", TAG, str(HERE))
    key = (folder / "key.pub").read_text().strip()
    made: dict[str, str] = {}
    try:
        for name, (facts, asks) in MACS.items():
            options = ["--label", "org.rackctl.role=test", "-e", f"FACTS={facts}", "-e", f"SUDO_ASKS={asks}"]
            made[name] = docker("run", "-d", "--rm", *options, "-e", f"KEY={key}", TAG)
        config, nodes = "", ""
        for number, (name, container) in enumerate(made.items(), 1):
            where = docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
            config += f"Host {name}\n  HostName {where}\n  User admin\n"
            nodes += f"  {name}: {{mac: '00:16:cb:00:00:0{number}', apple: true}}\n"
        common = f"Host *\n  IdentityFile {folder / 'key'}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
        (folder / "ssh").write_text(config + common + f"  UserKnownHostsFile {folder / 'known'}\n  LogLevel ERROR\n")
        gone = "  gone: {mac: '00:16:cb:00:00:09', apple: true, ssh: admin@192.0.2.9}\n"
        (folder / "rack.yml").write_text(f"server: {{address: 10.0.0.5}}\nmac: {{bsdp: true}}\nnodes:\n{nodes}{gone}")
        for name in made:
            until_it_answers(folder, name)
        yield folder
    finally:
        for container in made.values():
            docker("rm", "-f", container)


def until_it_answers(folder: Path, name: str) -> None:
    for _ in range(100):
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
    return subprocess.run(argv, capture_output=True, text=True, timeout=20).stdout.strip()


def test_all_at_once_and_each_says_what_became_of_it(rack: Path) -> None:
    start = time.monotonic()
    _, out = bless(rack, "--all", "--json")
    assert time.monotonic() - start < 30, "the one that is off does not hold up the others for long"
    found = json.loads(out[: out.index("}}") + 2])
    assert {name: one["ok"] for name, one in found.items()} == {
        "free": True, "guarded": False, "allowed": True, "asks": False, "gone": False,
    }  # fmt: skip
    assert found["guarded"]["remedy"] == "once, in Recovery: csrutil netboot add 10.0.0.5"
    assert "password" in found["asks"]["error"]
    assert "1 of 1 failed" in bless(rack, "gone")[1]
    assert blessed(rack, "free") == "--netboot --server bsdp://10.0.0.5"
    assert blessed(rack, "guarded") == ""


def test_nextonly_and_undo(rack: Path) -> None:
    assert bless(rack, "allowed", "--nextonly")[0] == 0
    assert blessed(rack, "allowed") == "--netboot --server bsdp://10.0.0.5 --nextonly"
    code, out = bless(rack, "allowed", "--undo")
    assert (code, "allowed: undone" in out) == (0, True)
    assert blessed(rack, "allowed") == "--mount / --setBoot"


def test_sudos_password_is_asked_once_and_shown_nowhere(rack: Path) -> None:
    code, out = bless(rack, "asks", "--ask-password", "--via", "tftp", typed="only four mice\n")
    assert code == 0, out
    assert "mice" not in out
    assert "write mac_efi: ia32" in out
    assert blessed(rack, "asks") == "--netboot --booter tftp://10.0.0.5/ipxe.efi"
    code, out = bless(rack, "asks", "--ask-password", typed="wrong\n")
    assert code != 0
    assert "wrong" not in out.replace("went wrong", "")
