"""Each link of the boot is cut in turn, and the failing stage is named."""

from pathlib import Path

import pytest

from boot.conftest import ADDRESS, Rig

pytestmark = [pytest.mark.boot, pytest.mark.engine]


@pytest.fixture
def rack(rig: Rig) -> Rig:
    rig.write("nodes: {n1: {mac: '52:54:00:12:34:57', os: {name: discovery}}}")
    rig.run("up")
    return rig


def boot_broken(rack: Rig) -> str:
    failed = rack.run("lab", "boot", "n1", "--silence", "60", want=6)
    assert "last lines of the console" in failed.stderr
    return failed.stderr


def test_a_loader_that_is_not_there(rack: Rig) -> None:
    loader = rack.served / "tftp/pxelinux.0"
    away = loader.with_name("away").resolve()
    loader.rename(away)
    # The router names it, and the TFTP server does not have it: in its container that path leads nowhere.
    loader.symlink_to(away)
    try:
        err = boot_broken(rack)
    finally:
        loader.unlink()
        away.rename(loader)
    assert "stuck before loader: the TFTP server has no file" in err and "pxelinux.0" in err


def test_a_script_that_is_not_there(rack: Rig) -> None:
    for file in (rack.served / "http/boot").iterdir():
        file.unlink()
    assert "stuck before script: /boot/default.ipxe was answered with HTTP 404" in boot_broken(rack)


def test_a_kernel_url_that_is_wrong(rack: Rig) -> None:
    change(rack.served / "http/boot/52-54-00-12-34-57.ipxe", "vmlinuz", "vmlinuz-nope")
    assert "stuck before kernel: /os/discovery/builtin/vmlinuz-nope was answered with HTTP 404" in boot_broken(rack)


def test_a_check_in_that_cannot_reach_the_master(rack: Rig) -> None:
    script = rack.served / "http/boot/52-54-00-12-34-57.ipxe"
    change(script, f"rackctl.server=http://{ADDRESS}:8083", f"rackctl.server=http://{ADDRESS}:9")
    assert "stuck before checkin: silent for" in boot_broken(rack)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
