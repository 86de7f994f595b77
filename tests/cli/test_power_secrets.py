"""One canary password, used for real, found nowhere."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from bmc_sims import running_sims, write_rack

CANARY = "c4nary-Sparrow-71"
RACKCTL = str(Path(sys.executable).with_name("rackctl"))
ROLE = "label=org.rackctl.role=ipmi"


def shell(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode(errors="replace")


def wait_for_call(child: subprocess.Popen[bytes], program: str) -> str:
    """The container of a command, of the one whose program that is, once it is at its call of ipmitool."""
    container = ""
    while child.poll() is None and not (container and "ipmitool" in shell("docker", "top", container)):
        names = shell("docker", "ps", "--no-trunc", "--filter", ROLE, "--format", "{{.Names}} {{.Command}}")
        container = next((line.split()[0] for line in names.splitlines() if program in line), "")
    return container


@contextmanager
def held(container: str) -> Iterator[None]:
    """It stays where it is meanwhile: looking around takes longer on a busy machine than the calls last."""
    subprocess.run(["docker", "pause", container], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["docker", "unpause", container], check=True, capture_output=True)


def everything_of(pid: int, container: str, since: str) -> dict[str, str]:
    """Where a secret could be seen while a command runs."""
    full = shell("docker", "inspect", "--format", "{{.Id}}", container).strip()
    image_of = shell("docker", "inspect", "--format", "{{.Image}}", container).strip()
    disk = Path(f"/var/lib/docker/containers/{full}")
    events = shell("docker", "events", "--since", since, "--until", str(time.time() + 0.1), "--filter", ROLE,
                   "--format", "{{json .}}")  # fmt: skip
    return {
        "ps": shell("ps", "-eww", "-o", "pid,args"),
        "environment": Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace"),
        "inspect": shell("docker", "inspect", container),
        "events": events,
        "logs": shell("docker", "logs", container),
        "disk": "\n".join(file.read_text(errors="replace") for file in disk.rglob("*") if file.is_file()),
        "image": shell("docker", "history", "--no-trunc", image_of),
    }


@pytest.mark.engine
@pytest.mark.parametrize("words", [["power", "status", "--all", "--json"], ["console", "b1"]], ids=["batch", "console"])
def test_the_password_is_seen_nowhere(tmp_path: Path, words: list[str]) -> None:
    rack = tmp_path / "rack"
    (rack / "secrets").mkdir(parents=True)
    (rack / "secrets" / "bmc").write_text(CANARY + "\n")
    (rack / "secrets" / "bmc").chmod(0o600)
    # So that the batch lasts as long as its timeout.
    dead = "  dead: {mac: '52:54:00:00:01:01', bmc: {port: 15699, timeout: 12}}\n"
    with running_sims(tmp_path / "bmcs", 2, 15600, password=CANARY) as sims:
        write_rack(rack, sims, "password: secrets/bmc, cipher: 3, timeout: 120,", dead)
        since, argv = str(time.time()), [RACKCTL, *words, "--rack", str(rack)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            console = words[0] == "console"  # it lasts until it is told to end
            container = wait_for_call(child, "console.sh" if console else "batch.pl")
            with nullcontext() if console else held(container):
                seen = everything_of(child.pid, container, since)
            out, err = child.communicate(b"\r~.", timeout=120)
    if words[0] == "console":
        assert b"SOL Session operational" in out  # so the canary was the right password
    else:
        assert [one["ok"] for one in json.loads(out)["outcomes"]] == [True, True, False]
    seen |= {"output": (out + err).decode()}
    seen |= {str(file): file.read_text() for file in (rack / ".rackctl").rglob("*") if file.is_file()}
    signs = {"ps": "ipmitool", "inspect": "rackctl-ipmi-", "events": "rackctl-ipmi-", "disk": "rackctl-ipmi-"}
    for place, sign in signs.items():
        assert sign in seen[place], f"{place} was not really looked into"
    assert [place for place, text in seen.items() if CANARY in text] == []


def test_the_password_is_not_in_what_is_rendered(tmp_path: Path) -> None:
    from rackctl.core.load import parse_rack
    from rackctl.core.render import render_rack

    rack = parse_rack(
        "server: {address: 10.98.0.1}\n"
        "bmc: {driver: ipmi, address: 10.0.0.1, user: canaryuser, password: secrets/bmc}\n"
        "nodes: {n: {mac: '52:54:00:00:00:01', bmc: {}}}\n"
    )
    tree = render_rack(rack, {}, {}, "p", {"tftp": "t", "microhttp": "m"})
    assert all(b"canaryuser" not in content and b"secrets/bmc" not in content for content in tree.files.values())
