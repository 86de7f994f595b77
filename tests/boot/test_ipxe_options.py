"""The `ipxe:` section, compiled and booted: every kind of option in one rack, whose machines load all by HTTPS."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from boot.conftest import ADDRESS, Rig
from boot.proving import boot, console_text, in_order, needs_source, order
from rackctl.adapters.rackca import ca_certificate, server_tls

pytestmark = [pytest.mark.boot, pytest.mark.engine, needs_source]

TLS = 8443
OPTIONS = f"""\
source: source, https: {{port: {TLS}}}, console: {{serial: COM2, speed: 57600, framebuffer: true}},
  commands: {{nslookup: true, ping: true, imgverify: true, login: false}}, protocols: {{nfs: true, aoe: false}},
  trust: [certs/company.pem], patches: patches"""
# Where a boot stands on the screen: once for all targets, once for undionly.kpxe alone.
PATCH = """\
--- a/src/core/main.c
+++ b/src/core/main.c
@@ -33,5 +33,5 @@
 \tinitialise();
 
 \t/* Some devices take an unreasonably long time to initialise */
-\tprintf ( "%s initialising devices...\\n", product_short_name );
+\tprintf ( "%s initialising devices of all targets...\\n", product_short_name );
 \tstartup();
"""
OWN_PATCH = """\
--- a/src/core/main.c
+++ b/src/core/main.c
@@ -37,5 +37,6 @@
 \tstartup();
 
 \t/* Attempt to boot */
+\tprintf ( "This is undionly.\\n" );
 \tif ( ( rc = ipxe ( NULL ) ) != 0 )
 \t\tgoto err_ipxe;
"""
STALE = PATCH.replace("initialising devices...", "awaking...")
BREAKING = PATCH.replace("product_short_name );\n \tstartup", "product_long_name );\n \tstartup")
# A command that is not there says so; one that is says what it lacks. What is on the framebuffer is no longer on the
# firmware's console, which is the first serial port too.
SCRIPT = f"""\
#!ipxe
isset ${{net0/ip}} && ifopen net0 || dhcp net0
ping --count 1 {ADDRESS} && echo said: ping answered ||
nslookup found www.example.org || echo said: nslookup was tried
imgverify none none.sig || echo said: imgverify was tried
set turned_off login
${{turned_off}} || echo said: login is off
imgfetch --timeout 3000 ftp://{ADDRESS}/none || echo said: ftp was tried
console --x 640 --y 480 && echo said: drawn ||
imgfetch https://{ADDRESS}:{TLS}/boot/trusted || imgfetch http://{ADDRESS}:83/boot/not-trusted ||
sleep 60
"""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA that rack.yml trusts besides its own."""
    return tmp_path_factory.mktemp("company")


@pytest.fixture
def rack(rig: Rig, company: Path) -> Iterator[Rig]:
    (rig.folder / "certs").mkdir(exist_ok=True)
    (rig.folder / "certs/company.pem").write_bytes(ca_certificate(company))
    (rig.folder / "patches/undionly.kpxe").mkdir(parents=True, exist_ok=True)
    (rig.folder / "patches/all.patch").write_text(PATCH)
    (rig.folder / "patches/undionly.kpxe/own.patch").write_text(OWN_PATCH)
    (rig.folder / "own.ipxe").write_text(SCRIPT)
    rig.write(ipxe=f"{{{OPTIONS}}}")
    yield rig
    rig.write()


def test_each_option_is_in_the_binary_that_boots(rack: Rig, company: Path, tmp_path: Path) -> None:
    rack.write(ipxe=f"{{{OPTIONS}, script: own.ipxe}}")
    out, wanted = tmp_path / "out", ("--target", "undionly.kpxe", "--target", "snponly.efi")
    rack.run("build-ipxe", "--output", str(out), *wanted)
    stranger = server_tls(tmp_path / "stranger", tmp_path / "stranger", ADDRESS).folder
    trusted = server_tls(company, company, ADDRESS).folder
    words = ("ping answered", "nslookup was tried", "imgverify was tried", "login is off")
    bios = order(out / "undionly.kpxe", "net", "bios", trusted, TLS, serial=2)
    uefi = order(out / "snponly.efi", "net", "uefi", stranger, TLS, serial=2)
    with ThreadPoolExecutor(2) as pool:
        (first, screen), (second, other) = pool.map(boot, (tmp_path / "bios", tmp_path / "uefi"), (bios, uefi))
    assert (first.scheme, first.request) == ("https", "/boot/trusted"), "the company's CA is trusted"
    assert (second.scheme, second.request) == ("http", "/boot/not-trusted"), "a stranger's is not"
    for seen in (screen, other):
        assert "devices of all targets" in seen
        in_order(seen, [f"said: {one}" for one in (*words, "ftp was tried")])
        assert "was triedlogin: command not found" in seen and seen.count("command not found") == 1
        off = re.findall(r"Could not start download: Operation not supported[^)]*\)said: (\w+)", seen)
        assert off == ["ftp"], "a protocol that is not built in is refused"
        features = re.findall(r"Features: ([\w ]+)", seen)[-1].split()  # the last: a ROM's iPXE has its own
        assert "NFS" in features and "AoE" not in features
    in_order(first.serial, [f"said: {one}" for one in words])
    # OVMF's own console is on both ports, until the framebuffer has iPXE's words: then they come from iPXE alone.
    for seen, port in ((screen, first.serial), (other, second.serial)):
        assert "said: drawn" in port and "said: drawn" not in seen
    assert "This is undionly." in screen and "This is undionly." not in other
    built = rack.run("build-ipxe", *wanted)
    assert "nothing to build: script, options and commit are those of the last build" in built.stdout


def test_a_machine_loads_all_by_https_and_checks_in(rack: Rig) -> None:
    said = rack.run("up").stdout
    assert re.search(r"HTTPS: certificate of \S+ by the rack's CA in secrets/, good until 20\d\d-", said)
    assert (rack.folder / "secrets/ca.key").stat().st_mode & 0o777 == 0o600
    timeline = rack.boot("--firmware", "uefi")
    assert timeline["verdict"] == "done" and timeline["firmware"] == "efi"
    seen = console_text(rack.folder / f".rackctl/lab/{timeline['mac'].replace(':', '').replace('-', '')}.console")
    base = f"https://{ADDRESS}:{TLS}"
    in_order(seen, ["devices of all targets", f"{base}/boot/", "ok", f"{base}/os/discovery/builtin/vmlinuz", "ok"])
    in_order(seen, [f"{base}/os/discovery/builtin/initrd", "ok"])
    assert "This is undionly" not in seen
    assert re.search(r"^https +certificate .* 20\d\d-", rack.run("status").stdout, re.M)


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        (BREAKING, ["iPXE's src/core/main.c:36: does not compile: ", "product_long_name", "rack.yml: ipxe.patches"]),
        (STALE, ["all.patch does not apply to this iPXE", "rack.yml: ipxe.patches"]),
    ],
    ids=["does-not-compile", "does-not-apply"],
)
def test_what_cannot_be_built_leaves_the_old_binaries_served(rack: Rig, patch: str, says: list[str]) -> None:
    rack.run("up")
    before = {file: file.read_bytes() for file in (rack.served / "tftp").glob("*.*i*")}
    assert len(before) == 2, before.keys()
    (rack.folder / "patches/all.patch").write_text(patch)
    failed = rack.run("up", want=2)
    assert failed.stderr.count("rackctl: ") == 1 and all(one in failed.stderr for one in says), failed.stderr
    assert {file: file.read_bytes() for file in before} == before
    assert "running" in rack.run("status").stdout
