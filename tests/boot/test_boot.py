"""Real firmware, the real services, a real Linux that checks in."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_github import GitHub, sha

from boot.conftest import ADDRESS, Rig
from rackctl.adapters.ipxesource import in_cache
from rackctl.supply import CACHE

pytestmark = [pytest.mark.boot, pytest.mark.engine]

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@here"
STAGES = ["firmware", "dhcp", "loader", "script", "kernel", "initrd", "config", "checkin"]
needs_source = pytest.mark.skipif(
    not in_cache(CACHE), reason=f"no iPXE source in {CACHE}: the source lane needs a clone at {CACHE / 'ipxe'}"
)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("lane", ["prebuilt", pytest.param("source", marks=needs_source)])
def test_a_machine_boots_from_power_off_to_check_in(rig: Rig, lane: str, firmware: str) -> None:
    rig.write(ipxe=lane)
    rig.run("up")
    timeline = rig.boot("--firmware", firmware)
    assert timeline["verdict"] == "done"
    assert [stage["stage"] for stage in timeline["stages"] if stage["ok"]][:8] == STAGES
    times = [stage["end"] for stage in timeline["stages"][:8]]
    assert times == sorted(times) and times[0] > timeline["started"]
    assert timeline["firmware"] == {"bios": "pcbios", "uefi": "efi"}[firmware]
    assert timeline["mac"] in rig.run("nodes").stdout
    assert "checkin" in rig.run("timeline", timeline["mac"]).stdout


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with GitHub() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def serve_release(hub: GitHub, tag: str, files: dict[str, Path]) -> None:
    content = {name: file.read_bytes() for name, file in files.items()}
    hub.files |= {f"{tag}/{name}": body for name, body in content.items()}
    hub.files[f"{tag}/checksums.txt"] = "".join(f"sha256: {sha(b)}  {n}\n" for n, b in content.items()).encode()


def test_rancheros_gets_its_kernel_line_and_cloud_config(rig: Rig, hub: GitHub) -> None:
    # The discovery OS plays RancherOS: what is proven is what reaches the machine, not what RancherOS makes of it.
    artifacts: dict[str, Any] = json.loads(rig.run("fetch", "discovery", "--json").stdout)[0]["artifacts"]
    serve_release(hub, "v1.5.8", {name: Path(artifacts[name]["path"]) for name in ("vmlinuz", "initrd")})
    rig.write(
        f"""\
        os: {{name: rancheros, version: v1.5.8}}
        ssh_authorized_keys: [{KEY}]
        nodes:
          n1: {{mac: "52:54:00:12:34:56"}}
        """
    )
    rig.run("up", RACKCTL_GITHUB_URL=f"{hub.url}/dl", RACKCTL_GITHUB_API=hub.url)
    config = (rig.served / "http/config/52-54-00-12-34-56").read_text()
    assert config.startswith("#cloud-config\n") and "hostname: n1" in config and KEY in config
    timeline = rig.boot("n1")
    words = timeline["cmdline"].split()
    assert f"rancher.cloud_init.datasources=[url:http://{ADDRESS}:8083/config/52-54-00-12-34-56]" in words
    assert (timeline["verdict"], timeline["hostname"], timeline["os"]) == ("done", "n1", "rancheros")
