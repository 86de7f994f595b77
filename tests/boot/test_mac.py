"""Macs against the real services: the responder beside another DHCP server, each binary by TFTP, 32-bit firmware."""

import json
import time
from pathlib import Path
from typing import Any

import netlab
import pytest

from boot.conftest import ADDRESS, NETWORK, Rig
from rackctl.adapters.ipxesource import in_cache
from rackctl.adapters.lab import find_network
from rackctl.core import bsdp
from rackctl.core.pe import pe_machine, split_fat
from rackctl.supply import CACHE

pytestmark = [pytest.mark.boot, pytest.mark.engine]

MAC = ADDRESS.rpartition(".")[0] + ".240"
IA32, X86_64 = 0x14C, 0x8664
SOURCE = bool(in_cache(CACHE))
needs_source = pytest.mark.skipif(
    not SOURCE, reason=f"no iPXE source in {CACHE}, and Debian's iPXE has no 32-bit EFI: clone it to {CACHE / 'ipxe'}"
)
OLD, NEW = "MacBook2,1", "Macmini6,2"


def ask_as_macs(*requests: dict[str, object]) -> list[Any]:
    assert NETWORK.endswith("/24")
    with netlab.started(find_network().bridge, MAC) as client:
        return client.ask(*[{"address": MAC, "server": ADDRESS, **one} for one in requests])


def listing(model: str, port: int = 68) -> dict[str, object]:
    return {"do": "list", "class": f"AAPLBSDPC/i386/{model}", "port": port}


def select(model: str, image: bsdp.ImageId) -> dict[str, object]:
    return {"do": "select", "class": f"AAPLBSDPC/i386/{model}", "image": image.encode().hex()}


def icons(answers: list[Any]) -> tuple[bsdp.Image, ...]:
    assert [one["from"] for one in answers] == [ADDRESS]
    assert bytes.fromhex(answers[0]["options"]["60"]) == b"AAPLBSDPC"
    return bsdp.parse(bytes.fromhex(answers[0]["options"]["43"])).images


def fetch(files: list[str]) -> dict[str, bytes]:
    return {
        name: bytes.fromhex(found["content"])
        for name, found in zip(files, ask_as_macs(*[{"do": "tftp", "file": name} for name in files]), strict=True)
    }


def test_a_mac_gets_its_icon_and_its_binary_with_the_prebuilt_lane(rig: Rig) -> None:
    rig.write("mac: {bsdp: true, label: 'Rescue ★'}\n")
    assert "no 32-bit EFI binary" in rig.run("up").stdout
    at_68, startup_disk = ask_as_macs(listing(NEW), listing(NEW, 773))
    assert startup_disk[0]["port"] == 773
    (icon,) = icons(at_68)
    assert icon.name == "Rescue ★"
    (chosen,) = ask_as_macs(select(NEW, icon.id))
    assert (chosen[0]["file"], chosen[0]["siaddr"]) == ("ipxe.efi", ADDRESS)
    assert pe_machine(fetch(["ipxe.efi"])["ipxe.efi"]) == X86_64
    assert "nothing to do" in rig.run("up").stdout
    # Another label is another configuration: the container must take it.
    rig.write("mac: {bsdp: true, label: Other}\n")
    rig.run("up")
    assert icons(ask_as_macs(listing(NEW))[0])[0].name == "Other"
    rig.write()
    rig.run("up")
    assert ask_as_macs({**listing(NEW), "wait": 2.0}) == [[]], "without bsdp there is no responder"


def test_the_prebuilt_lane_refuses_what_it_cannot(rig: Rig) -> None:
    node = "nodes: {old: {mac: '00:16:cb:00:00:01', mac_model: 'MacBook2,1'}}\n"
    for more in (node, "mac: {bsdp: true, fat: true}\n", "mac: {bsdp: true, icon_per_os: true}\n"):
        rig.write(more)
        failed = rig.run("up", want=1)
        assert "built from source" in failed.stderr


@needs_source
def test_every_named_binary_comes_by_tftp_and_is_for_its_machine(rig: Rig) -> None:
    rig.write("mac: {bsdp: true, icon_per_os: true}\n", ipxe="auto")
    rig.run("up")
    images = icons(ask_as_macs(listing(NEW))[0])
    assert len(images) == 2
    wanted = [(image, model) for image in images for model in (OLD, NEW)]
    answers = ask_as_macs(*[select(model, image.id) for image, model in wanted])
    named = {
        answer[0]["file"]: IA32 if model == OLD else X86_64 for answer, (_, model) in zip(answers, wanted, strict=True)
    }
    assert sorted(named) == ["ipxe-ia32.efi", "ipxe.efi", "mac/discovery/ipxe-ia32.efi", "mac/discovery/ipxe.efi"]
    for name, raw in fetch(list(named)).items():
        assert pe_machine(raw) == named[name], name
        folder = "boot/discovery/" if name.startswith("mac/") else "boot/"
        assert f"http://{ADDRESS}:8083".encode() in raw and b"${base}/" + folder.encode() + b"${mac:" in raw, name
    for script in ("boot/discovery/default.ipxe", "boot/default.ipxe"):
        assert (rig.served / "http" / script).is_file()

    rig.write("mac: {bsdp: true, fat: true}\n", ipxe="auto")
    rig.run("up")
    (chosen,) = ask_as_macs(select(OLD, images[0].id))
    assert chosen[0]["file"] == "ipxe-mac.efi"
    raw = fetch(["ipxe-mac.efi"])["ipxe-mac.efi"]
    assert raw[:4].hex() == "b9faf10e"
    assert [pe_machine(one) for one in split_fat(raw)] == [IA32, X86_64]


@needs_source
def test_32_bit_firmware_boots_ipxe_to_its_script(rig: Rig) -> None:
    """The kernel is another matter: 32-bit EFI does not start 64-bit Linux, and the script tries again for ever."""
    rig.write("mac: {bsdp: true}\n", ipxe="auto")
    rig.run("up")
    log = rig.folder / ".rackctl/logs/http.jsonl"
    before = log.stat().st_size
    child = rig.start("lab", "boot", "--firmware", "uefi-ia32", "--silence", "240")
    try:
        end = time.monotonic() + 240
        while not (asked := scripts_asked(log, before)) and child.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
    finally:
        child.terminate()
        child.communicate(timeout=120)
    assert asked and "platform=efi" in asked[0] and "buildarch=i386" in asked[0], asked
    console = (rig.folder / ".rackctl/lab/5254001ab003.console").read_bytes()
    assert b"snponly-ia32.efi" in console


def scripts_asked(log: Path, skip: int) -> list[str]:
    """URIs of the scripts that the 32-bit machine asked for, in the log from byte `skip` on."""
    lines = log.read_bytes()[skip:].decode().splitlines()
    uris = [str(json.loads(line)["uri"]) for line in lines if line.endswith("}")]
    return [uri for uri in uris if uri.startswith("/boot/52-54-00-1a-b0-03.ipxe")]
