"""A rack with every kind of option in its `ipxe:` section: it is compiled, and a machine loads all by HTTPS."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from boot.conftest import ADDRESS, Rig
from boot.proving import console_text, in_order, needs_source
from rackctl.adapters.rackca import ca_certificate

pytestmark = [pytest.mark.boot, pytest.mark.engine, needs_source]

TLS = 8443
OPTIONS = f"""\
source: source, https: {{port: {TLS}}}, console: {{serial: COM2, speed: 57600}},
  commands: {{nslookup: true, ping: true, imgverify: true, login: false}}, protocols: {{nfs: true}},
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
    rig.write(ipxe=f"{{{OPTIONS}}}")
    yield rig
    rig.write()


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
