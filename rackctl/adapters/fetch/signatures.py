"""Adapter: OpenPGP signatures, by Sequoia."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rackctl.adapters.fetch.web import read_page
from rackctl.core.catalog import Keys
from rackctl.errors import FetchError

if TYPE_CHECKING:
    from pysequoia import Cert

SYSTEM = Path("/usr/share/keyrings")
_OURS = Path(__file__).resolve().parent.parent.parent / "catalog" / "keys"


def load_keys(keys: Sequence[Keys], own: Path | None = None, cache: Path | None = None) -> list[Cert]:
    """The certificates of those who may sign. own: the rack's catalog/keys/. Raises FetchError."""
    from pysequoia import Cert

    found: list[Cert] = []
    for one in keys:
        if one.keyring:
            files = [
                file
                for folder in (own, SYSTEM, _OURS)
                for ending in (".gpg", ".pgp", ".asc")
                if folder and (file := folder / (one.keyring + ending)).is_file()
            ]
            if not files:
                raise FetchError(f"there is no keyring {one.keyring}", remedy=f"put {one.keyring}.asc in catalog/keys/")
            found += [cert for file in files for cert in _split(file.read_bytes(), str(file))]
        else:
            url = str(one.url)
            certs = [c for c in _split(read_page(url, cache).body, url) if c.fingerprint.upper() == one.fingerprint]
            if not certs:
                raise FetchError(f"it does not hold the key {one.fingerprint}", url, "do not trust this server")
            found += certs
    return [cert for cert in found if isinstance(cert, Cert)]


def verify_file(file: Path, signature: bytes, certs: Sequence[Cert], url: str) -> None:
    """Check a detached signature over a file. Raises FetchError."""
    import pysequoia

    try:
        sig = pysequoia.Sig.from_bytes(signature)
        pysequoia.verify(file=str(file), store=lambda _ids: list(certs), signature=sig)
    except Exception as wrong:  # the library raises bare RuntimeError and ValueError
        raise _bad(wrong, url) from wrong


def verify_bytes(content: bytes, signature: bytes, certs: Sequence[Cert], url: str) -> None:
    """Check a detached signature over bytes. Raises FetchError."""
    import pysequoia

    try:
        sig = pysequoia.Sig.from_bytes(signature)
        pysequoia.verify(bytes=content, store=lambda _ids: list(certs), signature=sig)
    except Exception as wrong:  # the library raises bare RuntimeError and ValueError
        raise _bad(wrong, url) from wrong


def verify_message(message: bytes, certs: Sequence[Cert], url: str) -> bytes:
    """The content of a message that carries its signature in itself, and only what is signed. Raises FetchError."""
    import pysequoia

    try:
        content = pysequoia.verify(bytes=message, store=lambda _ids: list(certs)).bytes
    except Exception as wrong:  # the library raises bare RuntimeError and ValueError
        raise _bad(wrong, url) from wrong
    return bytes(content or b"")


def _split(data: bytes, where: str) -> list[Cert]:
    from pysequoia import Cert

    # A file may hold several armoured blocks one after the other.
    mark = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
    blocks = [mark + block for block in data.split(mark)[1:]] if mark in data else [data]
    try:
        return [cert for block in blocks for cert in Cert.split_bytes(block)]
    except Exception as wrong:  # the library raises bare RuntimeError
        raise FetchError(f"no OpenPGP keys: {_first_line(wrong)}", where, "it may be a proxy's error page") from wrong


def _bad(wrong: Exception, url: str) -> FetchError:
    # A signature of tomorrow is as bad as a forged one, and a master without a battery wakes up in another year.
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    remedy = f"do not trust this mirror, if this machine's clock is right: it says {today}"
    return FetchError(f"the signature is not good: {_first_line(wrong)}", url, remedy)


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or ["?"])[0]
