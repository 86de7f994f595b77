"""The status container as compose runs it, its metrics, and a support bundle of a rack that has secrets."""

import json
import stat
import subprocess
import tarfile
import time
from collections import Counter
from pathlib import Path
from urllib.request import urlopen

import netlab
import pytest

from boot.conftest import ADDRESS, Rig

pytestmark = pytest.mark.engine
MAC, JOINER = "52:54:00:00:77:01", "52:54:00:00:77:02"
CANARY = "K10" + "5e" * 32 + "::node:canary-in-the-coal-mine"
PASSWORD = "canary-of-the-bmc"


def ask(rig: Rig, *paths: str) -> None:
    """From another machine: what the master asks itself is no boot."""
    code = "import sys,urllib.request as u\nfor one in sys.argv[1:]: u.urlopen(one).read()"
    urls = [rig.http + path for path in paths]
    subprocess.run(["docker", "run", "--rm", netlab.build(), "python3", "-c", code, *urls], check=True, timeout=60)


@pytest.fixture(scope="module")
def rack(rig: Rig) -> Rig:
    secrets = rig.folder / "secrets"
    secrets.mkdir(exist_ok=True)
    (secrets / "k3s-token").write_text(CANARY + "\n")
    (secrets / "k3s-token").chmod(0o600)
    rig.write(
        f"""\
        status: true
        bmc: {{driver: ipmi, user: admin, password: "env:BMC_PASSWORD"}}
        join: {{kind: k3s, server: "http://{ADDRESS}:16443", token: k3s-token}}
        nodes:
          n1: {{mac: "{MAC}"}}
          joiner: {{mac: "{JOINER}", bmc: {{address: 192.0.2.9}}}}
        """
    )
    rig.run("up", BMC_PASSWORD=PASSWORD)
    assert CANARY in (rig.served / "http/config" / JOINER.replace(":", "-")).read_text()
    ask(rig, f"/boot/{MAC.replace(':', '-')}.ipxe?mac={MAC}", f"/checkin?mac={MAC}&hostname=n1&os=discovery&uptime=4")
    return rig


def read_nodes(rig: Rig) -> list[dict[str, object]]:
    with urlopen(f"{rig.http}/status.json") as answer:
        found = json.loads(answer.read())
    assert found["live"] and abs(found["time"] - time.time()) < 30
    nodes: list[dict[str, object]] = found["nodes"]
    return nodes


def read_status(rig: Rig) -> dict[str, dict[str, object]]:
    return {str(row["name"]): row for row in read_nodes(rig)}


def read_metrics(rig: Rig) -> str:
    with urlopen(f"{rig.http}/metrics.prom") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text: str = answer.read().decode()
    return text


def test_the_container_keeps_the_page_and_its_metrics_live_in_forty_mebibytes(rack: Rig) -> None:
    end = time.monotonic() + 30
    while read_status(rack)["n1"]["verdict"] != "done" and time.monotonic() < end:
        time.sleep(0.5)
    assert read_status(rack)["n1"]["verdict"] == "done"
    assert read_status(rack)["joiner"]["verdict"] == "never"
    # The logs hold the machines of other tests, too; the two files are written one after the other.
    done = Counter(str(row["verdict"]) for row in read_nodes(rack))["done"]
    wanted = {f'rackctl_boot_up{{node="n1",mac="{MAC}"}} 1', f'rackctl_nodes{{verdict="done"}} {done}'}
    while not wanted <= set(read_metrics(rack).splitlines()) and time.monotonic() < end:
        time.sleep(0.5)
    assert wanted <= set(read_metrics(rack).splitlines())
    with urlopen(f"{rack.http}/events.jsonl") as answer:
        assert [json.loads(line)["stage"] for line in answer.read().splitlines()][-1] == "checkin"
    memory = json.loads(rack.run("status", "--json").stdout)["memory"]
    assert 1 << 20 < memory["status"] < 40 << 20, memory


def test_a_support_bundle_is_listed_first_and_holds_no_secret(rack: Rig, tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"
    listed = rack.run("support-bundle", "--output", str(file), want=130, BMC_PASSWORD=PASSWORD).stdout
    assert "self-test.txt" in listed and not file.exists()  # nobody said yes
    said = rack.run("support-bundle", "--output", str(file), "--yes", BMC_PASSWORD=PASSWORD).stdout
    assert said.index("self-test.txt") < said.index("wrote")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        held = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive}
        files = {name: opened.read().decode() for name, opened in held.items() if opened}
    key = JOINER.replace(":", "-")
    wanted = {"versions.txt", "rack.yml", "status.json", "timelines.json", "self-test.txt",
              f"tree/http/config/{key}",
              f"tree/http/boot/{key}.ipxe", "logs/http.jsonl", "logs/tftp.jsonl", "docker/microhttp.inspect.json",
              "docker/tftp.log", "docker/status.inspect.json"}  # fmt: skip
    assert wanted <= set(files)
    for secret in ("canary-in-the-coal-mine", "5e" * 32, PASSWORD):
        assert [name for name, text in files.items() if secret in text] == []
    assert f"mac: {MAC}" in files["rack.yml"].replace('"', "")
    assert '"checkin"' in files["status.json"] and MAC in files["logs/http.jsonl"]
    assert "Docker" in files["versions.txt"] and json.loads(files["docker/tftp.inspect.json"])
