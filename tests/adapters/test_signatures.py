"""Signatures made here with fresh keys, good ones and each way to be bad."""

from pathlib import Path

import pysequoia
import pytest
from fake_github import GitHub
from pysequoia import Cert, SignatureMode, Tsk

from rackctl.adapters.fetch.signatures import load_keys, verify_bytes, verify_file, verify_message
from rackctl.core.catalog import Catalog, Keys
from rackctl.errors import FetchError

ME = Tsk.generate("Me <me@example.org>")
EVE = Tsk.generate("Eve")


@pytest.fixture
def me() -> Cert:
    return ME.extract_certificate()


def sign(content: bytes, mode: SignatureMode = SignatureMode.DETACHED, key: Tsk = ME) -> bytes:
    return pysequoia.sign(key.signer(), content, mode=mode)


def test_a_good_detached_signature(me: Cert, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"kernel")
    verify_file(tmp_path / "f", sign(b"kernel"), [me], "u")
    verify_bytes(b"kernel", sign(b"kernel"), [me], "u")


@pytest.mark.parametrize("signature", [b"", b"<html>", b"-----BEGIN PGP SIGNATURE-----\n"])
def test_no_signature_is_bad(me: Cert, signature: bytes) -> None:
    with pytest.raises(FetchError, match="the signature is not good"):
        verify_bytes(b"kernel", signature, [me], "u")


def test_a_signature_of_tomorrow_tells_of_the_clock(me: Cert) -> None:
    with pytest.raises(FetchError, match="the signature is not good") as caught:
        verify_bytes(b"other", sign(b"content"), [me], "u")
    assert "clock" in caught.value.remedy


def test_another_content_or_signer_is_bad(me: Cert) -> None:
    with pytest.raises(FetchError, match="not good") as caught:
        verify_bytes(b"kernel!", sign(b"kernel"), [me], "u")
    assert "\n" not in caught.value.message
    with pytest.raises(FetchError, match="not good"):
        verify_bytes(b"kernel", sign(b"kernel", key=EVE), [me], "u")
    with pytest.raises(FetchError, match="not good"):
        verify_bytes(b"kernel", sign(b"kernel"), [], "u")


def test_of_a_message_only_what_is_signed_comes_out(me: Cert) -> None:
    message = sign(b"Codename: trixie\n", SignatureMode.CLEAR)
    assert verify_message(message, [me], "u").strip() == b"Codename: trixie"
    try:
        outside = verify_message(b"Codename: evil\n\n" + message, [me], "u")
    except FetchError:
        outside = b""
    assert b"evil" not in outside
    with pytest.raises(FetchError, match="not good"):
        verify_message(message.replace(b"trixie", b"evil!!"), [me], "u")


def test_a_key_from_the_net_counts_by_its_fingerprint(me: Cert, hub: GitHub) -> None:
    hub.files["key"] = str(me).encode() + str(EVE.extract_certificate()).encode()
    url = f"{hub.url}/objects/key"
    found = load_keys([Keys(fingerprint=me.fingerprint.upper(), url=url)])
    assert [cert.fingerprint for cert in found] == [me.fingerprint]
    with pytest.raises(FetchError, match="does not hold the key"):
        load_keys([Keys(fingerprint="A" * 40, url=url)])
    hub.files["key"] = b"<html>404</html>"
    with pytest.raises(FetchError, match="no OpenPGP keys"):
        load_keys([Keys(fingerprint="A" * 40, url=url)])


def test_an_own_keyring_is_found_and_an_absent_one_told(me: Cert, tmp_path: Path) -> None:
    (tmp_path / "mine.asc").write_text(str(me))
    assert load_keys([Keys(keyring="mine")], tmp_path)[0].fingerprint == me.fingerprint
    with pytest.raises(FetchError, match="no keyring yours"):
        load_keys([Keys(keyring="yours")], tmp_path)


@pytest.mark.parametrize("name", Catalog().names())
def test_every_keyring_of_the_catalogue_is_there(name: str) -> None:
    rings = [keys for keys in Catalog().get(name).keys if keys.keyring]
    assert len(load_keys(rings)) >= len(rings)
