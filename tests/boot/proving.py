"""Builds loaders from iPXE's source and boots each in a network of its own, where troubles can be ordered."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from boot.conftest import ADDRESS
from rackctl.adapters.imagebuild import build_image
from rackctl.adapters.ipxe import build_ipxe
from rackctl.adapters.ipxesource import in_cache
from rackctl.adapters.labprove import Order, Proof, prove
from rackctl.core.ipxe.recipe import Recipe
from rackctl.core.load import parse_rack
from rackctl.core.render import render_embed
from rackctl.supply import CACHE

OUT = CACHE / "ipxe-out"
CARD = "52-54-00-1a-b0-0f"  # prove.sh's, in a URL
needs_source = pytest.mark.skipif(not in_cache(CACHE), reason=f"no iPXE source in {CACHE}: nothing can be built")


def script(more: str = "") -> str:
    """rackctl's own, of a rack with this `ipxe:` section."""
    return render_embed(parse_rack(f"server: {{address: {ADDRESS}}}\n{more}"))


def build(text: str, *names: str, out: Path = OUT) -> dict[str, Path]:
    return build_ipxe(text, out, CACHE, Recipe("source"), print, names).files


def order(
    file: Path,
    kind: str,
    firmware: str,
    tls: Path | None = None,
    tls_port: int = 443,
    vlan: int = 0,
    http: int = 83,
    serial: int | None = None,
    **more: object,
) -> Order:
    """more: variables of compose/lab/prove.sh."""
    named = tuple((key.upper(), str(value)) for key, value in more.items())
    port = tls_port if tls else None
    return Order(file, file.parent, kind, firmware, ADDRESS, http, port, tls, vlan or None, serial=serial, more=named)


def boot(logs: Path, wanted: Order) -> tuple[Proof, str]:
    """Until it asks for its script; what was seen, and the console."""
    proof = prove(wanted, build_image("lab", print), logs, print)
    return proof, console_text(proof.console)


def console_text(file: Path) -> str:
    """What was written, without colours, moves of the cursor and the ends of lines: a screen breaks them anywhere."""
    text = file.read_bytes().decode(errors="replace")
    return re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]|[\r\n]", "", text)


def in_order(text: str, words: Sequence[str]) -> None:
    """Each of the words stands in the text, after the one before it."""
    at = 0
    for word in words:
        found = text.find(word, at)
        assert found >= 0, f"no {word!r} after {at}; the console's end:\n{text[-3000:]}"
        at = found + len(word)
