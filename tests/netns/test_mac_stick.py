"""The stick: read by tools that no one here wrote, and started by real firmware."""

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import netlab
import pytest
from netlab import Netlab

from rackctl.adapters.folder import RackFolder
from rackctl.adapters.imagebuild import build_image
from rackctl.assets import find_asset
from rackctl.core.pe import pe_machine, split_fat
from rackctl.macbuild import build_stick

pytestmark = pytest.mark.engine
RACK = "server: {address: 192.0.2.77, http_port: 8083}\n"
BINARIES = {0x8664: "EFI/BOOT/BOOTX64.EFI", 0x14C: "EFI/BOOT/BOOTIA32.EFI"}
QEMU = [
    "cp FIRMWARE_VARS_4M.fd /tmp/vars.fd && exec timeout -s KILL 400",
    "qemu-system-x86_64 -accel tcg -cpu max -machine q35 -m 512 -nographic -monitor none -serial stdio",
    "-drive if=pflash,format=raw,readonly=on,file=FIRMWARE_CODE_4M.fd -drive if=pflash,format=raw,file=/tmp/vars.fd",
    "-drive if=none,id=s,format=raw,readonly=on,file=/stick/stick.img",
    "-device qemu-xhci -device usb-storage,drive=s,bootindex=0 -nic user,model=virtio-net-pci",
]
WANTED = b"http://192.0.2.77:8083/boot/"  # on the screen, by the embedded script
BOOT_EFI = "System/Library/CoreServices/boot.efi"


@pytest.fixture(scope="module")
def lab() -> Iterator[Netlab]:
    with netlab.started() as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("stick")
    (folder / "rack.yml").write_text(RACK)
    return folder / "stick.img", build_stick(RackFolder(folder), folder / "stick.img", print)


def test_it_is_gpt_with_a_clean_fat_that_holds_the_files(lab: Netlab, made: tuple[Path, dict[str, bytes]]) -> None:
    image, files = made
    lab.put(image, "/tmp/stick.img")
    assert "No problems found" in lab.sh("sgdisk --verify /tmp/stick.img")
    assert re.search(r"1 .* EF00 .*rackctl", lab.sh("sgdisk --print /tmp/stick.img"))
    lab.sh(
        "dd if=/tmp/stick.img of=/tmp/part.img bs=512 skip=2048 count=77824 status=none && fsck.vfat -n /tmp/part.img"
    )
    assert "FAT32" in lab.sh("fsck.vfat -nv /tmp/part.img; minfo -i /tmp/part.img :: | grep -i 'disk type'")
    listing = lab.sh("mdir -/ -b -i /tmp/stick.img@@1M ::")
    for path, raw in files.items():
        assert f"::/{path}" in listing
        back = lab.sh(f"mcopy -i /tmp/stick.img@@1M ::{path} - | sha256sum").split()[0]
        assert back == hashlib.sha256(raw).hexdigest(), path


def test_every_binary_is_for_its_machine(made: tuple[Path, dict[str, bytes]]) -> None:
    _, files = made
    found = {machine: path for machine, path in BINARIES.items() if path in files}
    assert 0x8664 in found
    for machine, path in found.items():
        assert pe_machine(files[path]) == machine
    if len(found) == 2:
        assert [pe_machine(one) for one in split_fat(files[BOOT_EFI])] == [0x14C, 0x8664]
    else:
        assert files[BOOT_EFI] == files[BINARIES[0x8664]]


def test_two_builds_are_the_same_bytes(lab: Netlab) -> None:
    script = (find_asset("compose/stick") / "make.sh").read_text()
    lab.write("/make.sh", script)
    lab.sh("mkdir -p /files/EFI/BOOT && echo one >/files/EFI/BOOT/BOOTX64.EFI && echo two >/files/README.TXT")
    lab.sh(f"bash /make.sh {'0123456789abcdef' * 2} && mv /stick.img /first.img")
    time.sleep(2.1)  # FAT's times have a resolution of two seconds
    lab.sh("touch /files/README.TXT")
    lab.sh(f"bash /make.sh {'0123456789abcdef' * 2} && cmp /stick.img /first.img")
    lab.sh(f"bash /make.sh {'f123456789abcdef' * 2} && ! cmp -s /stick.img /first.img")


@pytest.mark.boot
@pytest.mark.parametrize(("machine", "firmware"), [(0x8664, "OVMF"), (0x14C, "OVMF32")])
def test_real_firmware_starts_it(
    made: tuple[Path, dict[str, bytes]], machine: int, firmware: str, tmp_path: Path
) -> None:
    """Without a network that answers: the embedded script says on the screen what it misses."""
    image, files = made
    if BINARIES[machine] not in files:
        pytest.skip("no 32-bit EFI binary without iPXE's source: put a clone at ~/.cache/rackctl/ipxe")
    shutil.copy(image, tmp_path / "stick.img")
    tag = build_image("lab", print)
    qemu = " ".join(QEMU).replace("FIRMWARE", f"/usr/share/OVMF/{firmware}")
    argv = [
        "docker",
        "run",
        "--rm",
        "-i",
        "--cidfile",
        str(tmp_path / "cid"),
        "--network",
        "none",
        "--label",
        "org.rackctl.role=test",
    ]
    argv += ["-v", f"{tmp_path}:/stick", "--entrypoint", "bash", tag, "-c", qemu]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seen = b""
    try:
        assert child.stdout is not None
        while chunk := child.stdout.read1(4096):
            seen += chunk
            if WANTED in seen:
                break
    finally:
        netlab.run("docker", "rm", "-f", (tmp_path / "cid").read_text())
        child.wait()
    assert WANTED in seen, seen[-3000:].decode(errors="replace")
