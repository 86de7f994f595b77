"""The script that checks in, run by the shells and clients of the systems that get it, at a server that stumbles."""

import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rackctl.core.catalog import Catalog
from rackctl.core.config.report import PATH, UNIT, UNIT_NAME, can_report, last_stage, render_report
from rackctl.core.config.sources import Inputs
from rackctl.core.configmodel import Join
from rackctl.core.events import Event, Stage
from rackctl.core.httplog import parse_http_line
from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack

MAC = "52:54:00:12:34:56"
TOOLS = ("cat", "cut", "date", "grep", "head", "sed", "tr")
SHELLS = {"curl": ("sh", "curl"), "wget": ("sh", "wget"), "bash": ("sh", "bash"), "busybox": ("busybox",)}
K3S = Join(kind="k3s", server="10.98.0.9", token="k3s-token")
IMAGES = {"tftp": "t:0", "microhttp": "m:0"}


@contextmanager
def master(failures: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers the first requests with 503; its URL and the paths it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(503 if len(asked) <= failures else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


def run(tmp: Path, tools: str, address: str, *, mac: str = MAC, join: Join | None = None, word: str = "") -> list[str]:
    """Run it with nothing in its PATH but these tools; the pauses it made."""
    folder, root = tmp / "bin", tmp / "root"
    for one in (folder, root):
        one.mkdir(exist_ok=True)
    shell, *client = SHELLS[tools]
    for name in (shell, *client):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    if shell == "busybox":
        for name in ("sh", "wget", *TOOLS):
            (folder / name).symlink_to(str(shutil.which("busybox")))
    else:
        for name in (shell, *client, *TOOLS):
            (folder / name).symlink_to(str(shutil.which(name)))
    # Ten seconds are what a request may take; the others are pauses.
    (folder / "sleep").write_text(f'#!/bin/sh\n[ "$1" != 10 ] || exec /bin/sleep 10\necho "$1" >>{tmp}/pauses\n')
    (folder / "sleep").chmod(0o755)
    host, _, port = address.partition(":")
    rack = parse_rack(f"server: {{address: {host}, http_port: {port}}}\n")
    text = render_report(rack, mac, "flatcar", join or Join())
    text = re.sub(r"^PATH=.*$", f"PATH={folder}", text, flags=re.MULTILINE)
    text = text.replace("/proc/cmdline", f"{root}/cmdline").replace("/proc/net/route", f"{root}/route")
    text = text.replace("127.0.0.1:10248", address).replace("/var/lib/rancher", f"{root}/rancher")
    (root / "checkin.sh").write_text(text)
    for name in ("cmdline", "route"):
        (root / name).touch()
    words = [str(folder / "sh"), str(root / "checkin.sh"), *([word] if word else [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pauses = tmp / "pauses"
    return pauses.read_text().split() if pauses.exists() else []


def event(path: str) -> Event:
    line = {"end": 1e9, "ip": "10.0.0.9", "port": "1", "m": "GET", "uri": path, "st": 200, "sent": 3, "len": "3",
            "range": "", "dur": 0.0, "done": "OK", "ua": ""}  # fmt: skip
    found = parse_http_line(json.dumps(line))
    assert isinstance(found, Event), found
    return found


@pytest.mark.parametrize("tools", SHELLS)
def test_it_checks_in_although_the_master_stumbles_twice(tools: str, tmp_path: Path) -> None:
    with master(2) as (address, asked):
        pauses = run(tmp_path, tools, address)
    assert pauses == ["2", "4"]
    first, _, last = (event(path) for path in asked)
    assert (last.stage, last.mac, last.detail["os"]) == (Stage.CHECKIN, MAC, "flatcar")
    assert float(last.detail["uptime"]) > 0
    assert int(last.detail["clock"]) > 1e9
    assert first.detail["hostname"] == Path("/proc/sys/kernel/hostname").read_text().strip()


@pytest.mark.parametrize("tools", SHELLS)
def test_it_gives_up_after_five_tries_and_fails_no_boot(tools: str, tmp_path: Path) -> None:
    with master(9) as (address, asked):
        assert run(tmp_path, tools, address) == ["2", "4", "8", "16"]
    assert len(asked) == 5


def test_a_master_that_is_away_fails_no_boot(tmp_path: Path) -> None:
    assert run(tmp_path, "curl", "127.0.0.1:9") == ["2", "4", "8", "16"]


@pytest.mark.parametrize("tools", ["curl", "busybox"])
def test_an_unknown_machine_names_the_card_it_booted_from_and_its_disk_keeps_that(tools: str, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/cmdline").write_text("quiet BOOTIF=01-52-54-00-AB-CD-EF x=y\n")
    with master(0) as (address, asked):
        run(tmp_path, tools, address, mac="", word="installed")
        shutil.rmtree(tmp_path / "bin")
        (tmp_path / "root/cmdline").write_text("quiet\n")
        run(tmp_path, tools, address, mac="")
    installed, up = (event(path) for path in asked)
    assert (installed.mac, installed.stage, installed.detail["state"]) == (
        "52:54:00:ab:cd:ef",
        Stage.CHECKIN,
        "installed",
    )
    assert (up.mac, up.detail.get("state")) == ("52:54:00:ab:cd:ef", None)


def test_without_any_trace_of_the_card_it_tells_the_one_with_the_route(tmp_path: Path) -> None:
    card = next(one for one in Path("/sys/class/net").iterdir() if (one / "address").exists())
    (tmp_path / "root").mkdir()
    (tmp_path / "root/route").write_text(f"Iface\tDestination\n{card.name}\t00000000\t0100000A\n")
    with master(0) as (address, asked):
        run(tmp_path, "curl", address, mac="")
    assert event(asked[0]).mac == (card / "address").read_text().strip()


@pytest.mark.parametrize("tools", ["curl", "bash"])
def test_it_joined_when_the_kubelet_has_its_certificate_and_is_well(tools: str, tmp_path: Path) -> None:
    with master(0) as (address, asked):
        pauses = run(tmp_path, tools, address, join=K3S)
        assert pauses == ["5"] * 120
        assert [event(path).stage for path in asked] == [Stage.CHECKIN]
        shutil.rmtree(tmp_path / "bin")
        agent = tmp_path / "root/rancher/k3s/agent"
        agent.mkdir(parents=True)
        (agent / "client-kubelet.crt").write_text("x")
        run(tmp_path, tools, address, join=K3S)
    assert [path.partition("?")[0] for path in asked[1:]] == ["/checkin", "/healthz", "/checkin"]
    assert (event(asked[-1]).stage, event(asked[-1]).mac) == (Stage.JOINED, MAC)


@pytest.mark.parametrize("kind", ["k3s", "rke2", "kubeadm", "rancher", "docker-swarm"])
def test_every_cluster_has_its_sign_and_no_secret_is_in_the_script(kind: str) -> None:
    rack = parse_rack("server: {address: 10.98.0.1}\n")
    text = render_report(rack, MAC, "debian", Join(kind=kind, server="10.98.0.9", token="the-token"))
    assert "state=joined" in text
    assert "the-token" not in text
    assert subprocess.run(["sh", "-n"], input=text, text=True).returncode == 0
    assert "state=joined" not in render_report(rack, MAC, "debian", Join())


RACK = (
    "server: {address: %s, http_port: %s}\nos: {name: %s, version: '%s'}\nunknown: boot\n%snodes: {n1: {mac: '%s'}}\n"
)


def render(os: str, version: str, more: str = "", master: str = "10.98.0.1:83", **texts: str) -> str:
    text = RACK % (*master.split(":"), os, version, more, MAC)
    given = Inputs(texts, {}, {}, text)
    files = render_rack(parse_rack(text), {}, {}, "p", IMAGES, inputs=given).files
    key = MAC.replace(":", "-")
    return files.get(f"http/config/{key}", files.get(f"http/config/{key}/user-data", b"")).decode()


@pytest.mark.parametrize(("os", "key"), [("rancheros", "runcmd"), ("k3os", "run_cmd")])
def test_the_users_commands_stay_and_come_after_ours(os: str, key: str) -> None:
    version = {"rancheros": "v1.5.8", "k3os": "v0.21.5-k3s2r1"}[os]
    text = render(os, version, "config: [{runcmd: !replace ['false', echo mine]}]\n")
    assert text.endswith(f"{key}:\n- sh {PATH} >/dev/null 2>&1 &\n- 'false'\n- echo mine\n")


def test_installed_is_the_last_that_a_preseed_does() -> None:
    text = render("debian", "13", "config: [d.cfg]\n", **{"d.cfg": "d-i preseed/late_command string mine one\n"})
    late = next(line for line in text.splitlines() if "late_command" in line)
    assert late.endswith(f"mine one; sh /target{PATH} installed >/dev/null 2>&1 || true")


def test_installed_is_the_last_that_an_autoinstall_does() -> None:
    own = "autoinstall:\n  version: 1\n  late-commands: !replace [mine one]\n"
    text = render("ubuntu", "24.04", "config: [u.yml]\n", **{"u.yml": own})
    late = text.partition("late-commands:\n")[2]
    assert late.startswith("  - mine one\n")
    assert late.endswith(f"  - sh /target{PATH} installed >/dev/null 2>&1 || true\n")


@pytest.mark.parametrize(("os", "version"), [("debian", "13"), ("ubuntu", "24.04")])
def test_the_late_commands_tell_installed_and_leave_the_unit(os: str, version: str, tmp_path: Path) -> None:
    tools, target = tmp_path / "tools", tmp_path / "target"
    tools.mkdir()
    for name, body in {"in-target": 'exec "$@"', "systemctl": "exit 0", "curtin": 'shift 3; exec "$@"'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    with master(0) as (address, asked):
        text = render(os, version, master=address)
        late = re.findall(r"late_command string (.*)", text)
        late = late or YAML(typ="safe").load(text)["autoinstall"]["late-commands"]
        for command in late:
            command = command.replace("/target/", f"{target}/")
            if os == "debian":  # most of its commands run in the target
                command = re.sub(r"(?<![\w/])/(etc|var|root)/", rf"{target}/\1/", command)
            done = subprocess.run(["sh", "-c", command], env={"PATH": f"{tools}:/usr/bin:/bin"}, timeout=60)
            assert done.returncode == 0, command
    assert [event(path).detail["state"] for path in asked] == ["installed"]
    assert (target / "etc/systemd/system" / UNIT_NAME).read_text() == UNIT
    assert (target / PATH.lstrip("/")).with_name("mac").read_text() == MAC + "\n"


@pytest.mark.parametrize("os", ["talos", "memtest86+"])
def test_what_cannot_run_a_script_gets_none(os: str) -> None:
    assert "checkin" not in render(os, "v1.9.1" if os == "talos" else "13")


@pytest.mark.parametrize(
    ("os", "join", "configured", "stage"),
    [
        ("flatcar", Join(), True, Stage.CHECKIN), ("flatcar", K3S, True, Stage.JOINED),
        ("discovery", K3S, True, Stage.CHECKIN), ("talos", Join(), True, Stage.CONFIG),
        ("talos", Join(), False, Stage.INITRD), ("opensuse", Join(), False, Stage.INITRD),
        ("memtest86+", Join(), False, Stage.KERNEL), ("netboot.xyz", Join(), False, Stage.INITRD),
        ("local", Join(), False, Stage.SCRIPT),
    ],
)  # fmt: skip
def test_the_last_that_a_system_tells_of(os: str, join: Join, configured: bool, stage: Stage) -> None:
    assert last_stage(Catalog().get(os), os, join, configured=configured) is stage
    assert can_report(os, Catalog().get(os).config.kind) is (os == "flatcar")
