"""Secure Boot in the lab: a firmware that starts only what one key has signed, and `ipxe: signed` served to it.

The release is a stand-in: Debian's iPXE, signed by a key of the test, in the places that upstream's has. What cannot be
had here is upstream's shim with Microsoft's signature on it: the firmware checks the loader itself in its place.
"""

import io
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_github import GitHub

from boot.conftest import ADDRESS, Rig
from boot.proving import CARD, boot, console_text, in_order, order
from rackctl.adapters.ipxe import build_ipxe
from rackctl.core.ipxe.recipe import Recipe
from rackctl.errors import BootError
from rackctl.supply import CACHE

pytestmark = [pytest.mark.boot, pytest.mark.engine]

IMAGE = "rackctl/test-secureboot"
FOLDER = Path(__file__).parent.parent / "secureboot"
RELEASED = "ipxeboot/x86_64-sb"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ipxe.efi, signed, and the variables of a firmware that knows the key."""
    work = tmp_path_factory.mktemp("signed")
    plain = build_ipxe("#!ipxe\nshell\n", CACHE / "ipxe-out", CACHE, Recipe("prebuilt"), print).files["ipxe.efi"]
    shutil.copyfile(plain, work / "ipxe.efi")
    shutil.copyfile(plain, work / "unsigned.efi")
    subprocess.run(["docker", "build", "-q", "-t", IMAGE, str(FOLDER)], check=True)
    subprocess.run(["docker", "run", "--rm", "--network", "none", "-v", f"{work}:/work", IMAGE, "ipxe.efi"], check=True)
    return work


@pytest.fixture
def hub(signed: Path) -> Iterator[GitHub]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("shimx64.efi", "ipxe.efi", "snponly.efi"):
            archive.add(signed / "ipxe.efi", f"{RELEASED}/{name}")
    with GitHub() as server:
        server.files["v2.0.0/ipxeboot.tar.gz"] = packed.getvalue()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_what_up_serves_as_signed_boots_with_secure_boot_on(
    rig: Rig, hub: GitHub, signed: Path, tmp_path: Path
) -> None:
    rig.write(ipxe="signed")
    rig.run("up", RACKCTL_GITHUB_URL=f"{hub.url}/dl", RACKCTL_GITHUB_API=hub.url)
    locked = (rig.folder / "rack.lock").read_text()
    assert "ipxe-signed" in locked and "shimx64.efi" in locked
    served = rig.served / "tftp"
    assert (served / "snponly-shim.efi").read_bytes() == (signed / "ipxe.efi").read_bytes()
    told = rig.run("explain", "52:54:00:12:34:56", "--arch", "uefi").stdout
    assert "snponly-shim.efi" in told, "the router is told to name the shim"
    files = tmp_path / "tftp"
    shutil.copytree(served, files)
    shutil.copyfile(signed / "vars.fd", files / "vars.fd")
    loader = order(files / "snponly-shim.efi", "net", "uefi-secure", http=8083, vars="vars.fd")
    proof, seen = boot(tmp_path, loader)
    assert proof.request.startswith(f"/boot/{CARD}.ipxe?") and proof.facts["platform"] == "efi"
    in_order(seen, ["autoexec.ipxe", "rackctl: round 1, looking for", f"{CARD}.ipxe"])


def test_the_firmware_refuses_what_nobody_signed(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(BootError):
        boot(tmp_path, order(signed / "unsigned.efi", "net", "uefi-secure", vars="vars.fd", seconds=40))
    seen = console_text(tmp_path / "prove-unsigned.efi-uefi-secure.console")
    assert "Access Denied" in seen and "iPXE initialising" not in seen
    assert ADDRESS in seen, "it was loaded, and then refused"
