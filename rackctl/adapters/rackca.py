"""Adapter: the rack's own certificate authority, and microhttp's certificate by it, for iPXE that loads by HTTPS.

secrets/ca.key is the user's to keep (mode 0600); .rackctl/tls/ can be made again from it.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rackctl.core.ipxe.settings import CA_CERTIFICATE, CA_KEY
from rackctl.errors import ConfigError

_BITS = 3072  # iPXE v2.0.0 has RSA for certificates; a BIOS machine checks 3072 bits in well under a second
# A machine with an empty clock battery wakes in 2000 or later, and iPXE compares with its clock.
_FIRST_DAY = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_CA_DAYS, _SERVER_DAYS = 365 * 20, 365 * 10
_RENEW_DAYS = 365  # a rack may run that long without anybody typing `rackctl up`


@dataclass(frozen=True)
class ServerTls:
    """What microhttp serves by. folder: server.key and server.pem; expires: of the first of both certificates to."""

    folder: Path
    digest: str
    expires: datetime.date


def ca_certificate(rack: Path) -> bytes:
    """The CA's certificate as PEM; the CA is made when there is none. Raises ConfigError when half of it is gone."""
    key, certificate = rack / CA_KEY, rack / CA_CERTIFICATE
    if not key.exists() and not certificate.exists():
        _make_ca(key, certificate)
    return _load_ca(rack)[1].public_bytes(serialization.Encoding.PEM)


def ca_expiry(rack: Path) -> datetime.date | None:
    """The CA's last day; None when there is none yet."""
    return _load_ca(rack)[1].not_valid_after_utc.date() if (rack / CA_CERTIFICATE).exists() else None


def server_expiry(work: Path) -> datetime.date | None:
    """The last day of what microhttp serves by; None when there is nothing yet."""
    file = work / "tls" / "served" / "server.pem"
    if not file.exists():
        return None
    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(file.read_bytes())).date()


def server_tls(rack: Path, work: Path, address: str) -> ServerTls:
    """microhttp's certificate for this address, made anew when it is for another, by another CA, or near its end.

    Raises ConfigError.
    """
    ca_certificate(rack)
    ca_key, ca = _load_ca(rack)
    # Only the user may enter tls/; the container has tls/served mounted, and no way around it.
    folder = work / "tls" / "served"
    folder.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)
    found = _read_server(folder / "server.pem", ca, address)
    if found is None or not (folder / "server.key").exists():
        found = _make_server(folder, ca_key, ca, address)
    expires = min(found.not_valid_after_utc, ca.not_valid_after_utc).date()
    return ServerTls(folder, found.fingerprint(hashes.SHA256()).hex()[:16], expires)


def _make_ca(key_file: Path, certificate_file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rackctl rack CA")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    built = _builder(name, name, key.public_key(), key.public_key(), _CA_DAYS)
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = built.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    _write(key_file, _key_pem(key), 0o600)
    _write(certificate_file, signed.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_server(folder: Path, ca_key: rsa.RSAPrivateKey, ca: x509.Certificate, address: str) -> x509.Certificate:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    built = _builder(name, ca.subject, key.public_key(), ca_key.public_key(), _SERVER_DAYS)
    built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    built = built.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
    )
    built = built.add_extension(_usage(digital_signature=True, key_encipherment=True), critical=True)
    built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    signed = built.sign(ca_key, hashes.SHA256())
    # Readable for the container's user, who is nobody here: what keeps others out is the folder above.
    _write(folder / "server.key", _key_pem(key), 0o644)
    chain = signed.public_bytes(serialization.Encoding.PEM) + ca.public_bytes(serialization.Encoding.PEM)
    _write(folder / "server.pem", chain, 0o644)
    return signed


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, by: rsa.RSAPublicKey, days: int
) -> x509.CertificateBuilder:
    end = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)
    issuing = x509.AuthorityKeyIdentifier.from_issuer_public_key(by)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FIRST_DAY)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(issuing, critical=False)
    )


def _usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
        "encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names.split()})


def _read_server(file: Path, ca: x509.Certificate, address: str) -> x509.Certificate | None:
    """The certificate in the file, if it can go on being used."""
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())[0]
        found.verify_directly_issued_by(ca)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:
        return None
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=_RENEW_DAYS)
    good = ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)
    return found if good and found.not_valid_after_utc > soon else None


def _load_ca(rack: Path) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key_file, certificate_file = rack / CA_KEY, rack / CA_CERTIFICATE
    remedy = "put both files back, or remove both: rackctl up makes a new CA and builds iPXE anew"
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        mode = key_file.stat().st_mode
    except (OSError, ValueError, TypeError) as wrong:
        raise ConfigError(f"the rack's CA cannot be read: {wrong}", str(rack / "secrets"), remedy) from wrong
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError("iPXE knows RSA keys only", str(key_file), remedy)
    if key.public_key() != certificate.public_key():
        raise ConfigError("ca.key and ca.pem do not belong together", str(rack / "secrets"), remedy)
    if mode & 0o077:
        raise ConfigError("can be read by others", str(key_file), f"chmod 600 {key_file}")
    if certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
        raise ConfigError(f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}", str(certificate_file), remedy)
    return key, certificate


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
        handle.write(content)
    aside.chmod(mode)
    aside.rename(file)
