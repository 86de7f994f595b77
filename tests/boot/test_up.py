"""up, status, down against the real engine: served whole, repaired when damaged, left alone when right."""

import json
import os
import re
import shutil
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from boot.conftest import ADDRESS, Rig

pytestmark = pytest.mark.engine


@pytest.fixture
def rack(rig: Rig) -> Rig:
    rig.write()
    rig.run("up")
    return rig


def test_up_serves_and_a_second_up_does_nothing(rack: Rig) -> None:
    assert "nothing to do" in rack.run("up").stdout
    with urlopen(f"{rack.http}/boot/default.ipxe") as answer:
        assert answer.read().startswith(b"#!ipxe\n")


def test_up_repairs_what_was_damaged_and_starts_what_was_stopped(rack: Rig) -> None:
    (rack.served / "http/boot/default.ipxe").write_text("#!ipxe\nshell\n")
    (rack.served / "tftp/ipxe.efi").unlink()
    said = rack.run("up").stdout
    assert "publish: http/boot/default.ipxe and 1 more of the served tree is absent or damaged" in said
    assert (rack.served / "tftp/ipxe.efi").stat().st_size > 100_000
    assert f"next-server (option 66)  {ADDRESS}\n" in said, "what to enter in the router"
    assert "pxelinux.0 for BIOS, ipxe.efi for UEFI x86_64" in said
    rack.run("down")
    assert "start: " in rack.run("up").stdout


def test_status_tells_services_ports_disk_and_memory(rack: Rig) -> None:
    found = json.loads(rack.run("status", "--json").stdout)
    assert {one["service"]: one["state"] for one in found["services"]} == {"tftp": "running", "microhttp": "running"}
    assert found["ports"]["tftp"] == f"{ADDRESS}:69/udp"
    assert 0 < sum(found["memory"].values()) < 8 << 20
    assert found["disk"]["free"] > 0 and "http/boot/default.ipxe" in found["served"]
    text = rack.run("status").stdout
    assert re.search(r"^microhttp +\S+:8083/tcp +running", text, re.M) and "private in all" in text


def test_a_port_in_use_names_its_holder(rack: Rig) -> None:
    rack.run("down")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((ADDRESS, 8083))
        taken.listen()
        failed = rack.run("up", want=7)
    assert "port 8083/tcp" in failed.stderr and f"(pid {os.getpid()})" in failed.stderr and "http_port" in failed.stderr


def test_another_port_that_is_held_leaves_what_is_served(rack: Rig) -> None:
    with socket.socket() as taken:
        taken.bind((ADDRESS, 8084))
        taken.listen()
        text = (rack.folder / "rack.yml").read_text()
        (rack.folder / "rack.yml").write_text(text.replace("8083", "8084"))
        failed = rack.run("up", want=7)
    assert "port 8084/tcp" in failed.stderr and f"(pid {os.getpid()})" in failed.stderr
    with urlopen(f"{rack.http}/boot/default.ipxe") as answer:
        assert b":8083" in answer.read()


def test_another_address_whose_tftp_port_is_held_leaves_what_is_served(rack: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.69", 69))
        text = (rack.folder / "rack.yml").read_text()
        (rack.folder / "rack.yml").write_text(text.replace(ADDRESS, "127.0.0.69"))
        failed = rack.run("up", want=7)
    assert "port 69/udp of 127.0.0.69" in failed.stderr and f"(pid {os.getpid()})" in failed.stderr
    with urlopen(f"{rack.http}/boot/default.ipxe") as answer:
        assert ADDRESS.encode() in answer.read()


def test_a_second_rack_on_the_address_is_told_of_the_first(rack: Rig, tmp_path: Path) -> None:
    second = Rig(tmp_path)
    second.write()
    failed = second.run("up", want=7)
    assert f"port 69 of {ADDRESS} serves another rack, that of {rack.folder}" in failed.stderr
    assert f"rackctl down --rack {rack.folder}" in failed.stderr


def test_up_mends_what_was_removed_under_running_services(rack: Rig) -> None:
    shutil.rmtree(rack.folder / ".rackctl")
    assert "read back from" in rack.run("up").stdout
    shutil.rmtree(rack.folder / ".rackctl/logs")  # what the services wrote from then on would be nowhere
    assert "read back from" in rack.run("up").stdout
    assert list((rack.folder / ".rackctl/logs").iterdir())
    assert "nothing to do" in rack.run("up").stdout


def test_bridge_network_serves_tftp_through_a_published_port(rack: Rig) -> None:
    text = (rack.folder / "rack.yml").read_text().replace("http_port: 8083", "http_port: 8083, network: bridge")
    (rack.folder / "rack.yml").write_text(text)
    said = rack.run("up").stdout  # up itself reads each loader by TFTP from the published port
    assert "read back from" in said
    assert "ports:" in (rack.served / "compose.yml").read_text().split("microhttp:")[0]
