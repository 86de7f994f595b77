"""What is wrong with iPXE's inputs is one message with its line, before an engine is asked for anything."""

import os
from pathlib import Path

import pytest
from real_cli import assert_refused, run_cli

from rackctl.core.ipxe.script import MOST_BYTES

FAKES = Path(__file__).parent.parent / "fakes" / "engine"
# One that reaches no engine: a fault of the inputs is told all the same.
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    folder = tmp_path / "rack"
    (folder / "boot").mkdir(parents=True)
    return folder


def write(rack: Path, ipxe: str, script: bytes = b"#!ipxe\nshell\n") -> None:
    (rack / "rack.yml").write_text(f"server: {{address: 127.0.69.1}}\nipxe: {ipxe}\n")
    (rack / "boot/mine.ipxe").write_bytes(script)


@pytest.mark.parametrize("command", ["build-ipxe", "up", "lint"])
@pytest.mark.parametrize(
    ("script", "says"),
    [
        (b"echo hello\n", "mine.ipxe:1: the first line is not #!ipxe"),
        (b"#!ipxe\necho a\r\nshell\r\n", "mine.ipxe:2: ends in CR LF"),
        (b"#!ipxe\n" + b"#" * MOST_BYTES, f"mine.ipxe:1: {MOST_BYTES + 7} bytes; a script may have {MOST_BYTES}"),
        (b"#!ipxe\n\nchian x\n", "mine.ipxe:3: unknown command 'chian'; did you mean 'chain'?"),
        (b"#!ipxe\nnslookup a b\n", "mine.ipxe:2: the command nslookup is not built in"),
    ],
    ids=["no-shebang", "crlf", "too-large", "unknown", "not-built-in"],
)
def test_a_script_that_cannot_work(rack: Path, command: str, script: bytes, says: str) -> None:
    write(rack, "{script: boot/mine.ipxe}", script)
    assert_refused(run_cli(command, cwd=rack, env=NO_ENGINE), 2, says)
    assert not (rack / ".rackctl").exists() and not (rack / "secrets").exists()


def test_a_command_is_known_by_what_rack_yml_turns_on_and_off(rack: Path) -> None:
    write(rack, "{script: boot/mine.ipxe, commands: {nslookup: true}}", b"#!ipxe\nnslookup a b\n")
    done = run_cli("lint", cwd=rack)
    assert done.returncode == 0, done.stderr
    write(rack, "{script: boot/mine.ipxe, commands: {login: false}}", b"#!ipxe\nlogin\n")
    assert_refused(run_cli("build-ipxe", cwd=rack, env=NO_ENGINE), 2, "mine.ipxe:2: the command login is not built in")


@pytest.mark.parametrize(
    ("ipxe", "says"),
    [
        ("{script: boot/none.ipxe}", "boot/none.ipxe: cannot be read: No such file"),
        ("{https: true, trust: [certs/ca.pem]}", "certs/ca.pem: cannot be read: No such file"),
        ("{trust: [boot/mine.ipxe]}", "boot/mine.ipxe: has no certificate in PEM form"),
        ("{trust: [boot/cut.pem]}", "boot/cut.pem: certificate 1 in it has no -----END CERTIFICATE-----"),
        ("{trust: [boot/bad.pem]}", "boot/bad.pem: certificate 1 in it cannot be read"),
        ("{trust: [boot/pipe]}", "boot/pipe: is not a file"),
        ("{script: boot/pipe}", "boot/pipe: is not a file"),
        ("{patches: none}", "rack.yml: ipxe.patches: there is no folder none"),
        ("{patches: boot}", "boot/ipxe.exe: there is no target 'ipxe.exe'"),
        ("{commands: {nslokup: true}}", "rack.yml:2:19: "),
        ("{protocols: {htps: true}}", "rack.yml:2:20: "),
    ],
    ids=["script", "ca", "no-pem", "pem-cut", "pem-bad", "ca-pipe", "pipe", "patches", "target", "command", "protocol"],
)
def test_what_rack_yml_names_wrongly(rack: Path, ipxe: str, says: str) -> None:
    write(rack, ipxe)
    (rack / "boot/ipxe.exe").mkdir()
    (rack / "boot/ipxe.exe/a.patch").write_text("x")
    (rack / "boot/cut.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    (rack / "boot/bad.pem").write_text("-----BEGIN CERTIFICATE-----\nnot base64 !!\n-----END CERTIFICATE-----\n")
    os.mkfifo(rack / "boot/pipe")
    assert_refused(run_cli("build-ipxe", cwd=rack, env=NO_ENGINE), 2, says)
    assert not (rack / "secrets").exists(), "no CA is made for a build that cannot be"


def test_a_build_that_gives_no_file(rack: Path) -> None:
    write(rack, "prebuilt")
    env = {"PATH": f"{FAKES}:{os.environ['PATH']}", "FAKE_ENGINE": "good", "XDG_CACHE_HOME": str(rack / "cache")}
    assert_refused(run_cli("build-ipxe", cwd=rack, env=env), 3, "the build made no pxelinux.0, ldlinux.c32")


def test_inputs_without_fault_leave_the_engine_to_be_asked(rack: Path) -> None:
    write(rack, "{script: boot/mine.ipxe}")
    assert_refused(run_cli("build-ipxe", cwd=rack, env=NO_ENGINE), 3, "does not answer")
