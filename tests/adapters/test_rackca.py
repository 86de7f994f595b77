"""The rack's own CA: what openssl says of it, and when it is made anew."""

import datetime
import shutil
import subprocess
from pathlib import Path

import pytest

from rackctl.adapters import rackca
from rackctl.adapters.rackca import ca_certificate, ca_expiry, server_tls
from rackctl.errors import ConfigError

ADDRESS = "10.0.0.1"


def openssl(*words: str | Path) -> str:
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    return tmp_path / "rack"


def test_openssl_verifies_the_server_by_the_ca_alone(rack: Path) -> None:
    made = server_tls(rack, rack / ".rackctl", ADDRESS)
    verify = (
        "verify",
        "-no-CApath",
        "-no-CAstore",
        "-CAfile",
        rack / "secrets/ca.pem",
        "-purpose",
        "sslserver",
        "-x509_strict",
    )
    assert "OK" in openssl(*verify, "-verify_ip", ADDRESS, made.folder / "server.pem")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verify, "-verify_ip", "10.0.0.2", made.folder / "server.pem")
    text = openssl("x509", "-in", rack / "secrets/ca.pem", "-noout", "-text")
    assert "rsaEncryption" in text and "CA:TRUE, pathlen:0" in text and "Not Before: Jan  1 00:00:00 2000" in text
    assert made.expires == rackca.server_expiry(rack / ".rackctl")
    assert made.expires > datetime.date.today() + datetime.timedelta(days=3000)


def test_keys_are_for_the_user_and_the_container_alone(rack: Path) -> None:
    made = server_tls(rack, rack / ".rackctl", ADDRESS)
    assert (rack / "secrets/ca.key").stat().st_mode & 0o777 == 0o600
    assert made.folder.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_made_twice_and_a_new_address_or_ca_gives_a_new_certificate(rack: Path) -> None:
    first = server_tls(rack, rack / ".rackctl", ADDRESS)
    assert server_tls(rack, rack / ".rackctl", ADDRESS) == first
    moved = server_tls(rack, rack / ".rackctl", "10.0.0.2")
    assert moved.digest != first.digest
    shutil.rmtree(rack / "secrets")
    assert server_tls(rack, rack / ".rackctl", "10.0.0.2").digest != moved.digest


def test_a_certificate_near_its_end_is_made_anew(rack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rackca, "_SERVER_DAYS", rackca._RENEW_DAYS - 1)
    first = server_tls(rack, rack / ".rackctl", ADDRESS)
    monkeypatch.undo()
    assert server_tls(rack, rack / ".rackctl", ADDRESS).digest != first.digest


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
def test_half_a_ca_is_never_replaced_in_silence(rack: Path, name: str) -> None:
    assert ca_expiry(rack) is None
    ca_certificate(rack)
    (rack / "secrets" / name).unlink()
    with pytest.raises(ConfigError, match="CA cannot be read"):
        ca_certificate(rack)


def test_a_ca_that_cannot_be_trusted_is_refused(rack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca_certificate(rack)
    ca_certificate(tmp_path / "other")
    (rack / "secrets/ca.key").chmod(0o640)
    with pytest.raises(ConfigError, match="read by others"):
        ca_certificate(rack)
    shutil.copy(tmp_path / "other/secrets/ca.key", rack / "secrets/ca.key")
    with pytest.raises(ConfigError, match="do not belong together"):
        ca_certificate(rack)
    shutil.rmtree(rack / "secrets")
    monkeypatch.setattr(rackca, "_CA_DAYS", -1)
    with pytest.raises(ConfigError, match="expired on"):
        ca_certificate(rack)
