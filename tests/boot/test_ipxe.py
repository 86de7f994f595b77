"""iPXE as it is built, and its script on machines that are in trouble. Real firmware, a network of its own for each."""

import hashlib
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

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not in_cache(CACHE), reason=f"no iPXE source in {CACHE}: nothing can be built"),
]
OUT = CACHE / "ipxe-out"
CARD = "52-54-00-1a-b0-0f"


def build(text: str, out: Path = OUT, *names: str) -> dict[str, Path]:
    script = render_embed(parse_rack(f"server: {{address: {ADDRESS}}}\n")) + text
    return build_ipxe(script, out, CACHE, Recipe("source"), print, names or ("undionly.kpxe", "ipxe.efi")).files


def test_two_builds_of_one_script_are_the_same_bytes(tmp_path: Path) -> None:
    made = [build(f"# {tmp_path}\n", tmp_path / side) for side in ("one", "two")]
    sums = [{name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in one.items()} for one in made]
    assert sums[0] == sums[1] and len(set(sums[0].values())) == 2
    script = render_embed(parse_rack(f"server: {{address: {ADDRESS}}}\n")).encode()
    assert script in made[0]["ipxe.efi"].read_bytes()


def boot(tmp_path: Path, file: Path, kind: str, firmware: str, vlan: int = 0, **troubles: object) -> tuple[Proof, str]:
    options = tuple((key.upper(), str(value)) for key, value in troubles.items())
    order = Order(file, file.parent, kind, firmware, ADDRESS, 83, vlan=vlan or None, more=options)
    proof = prove(order, build_image("lab", print), tmp_path, print)
    return proof, proof.console.read_bytes().decode(errors="replace")


@pytest.mark.boot
def test_on_a_vlan_with_the_booted_card_second(tmp_path: Path) -> None:
    rack = parse_rack(f"server: {{address: {ADDRESS}}}\nipxe: {{vlan: 42}}\n")
    loader = build_ipxe(render_embed(rack), OUT, CACHE, Recipe("source"), print, ["ipxe.efi"]).files["ipxe.efi"]
    proof, seen = boot(tmp_path, loader, "net", "uefi", vlan=42, dead=1)
    assert proof.facts["platform"] == "efi" and proof.request.startswith(f"/boot/{CARD}.ipxe?")
    assert "by net" not in seen.replace("\r\n", ""), "the untagged address was not even tried"
