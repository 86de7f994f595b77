"""iPXE's script on machines that are in trouble: each boots by itself in the end, and says meanwhile what is wrong.

Real firmware, a network of its own for each. They boot two at a time: most of each boot is waiting.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from boot.conftest import ADDRESS
from boot.proving import CARD, boot, build, in_order, needs_source, order, script
from rackctl.adapters.labprove import Proof

pytestmark = [pytest.mark.boot, pytest.mark.engine, needs_source]
MAC = CARD.replace("-", ":")
DEAD = "52:54:00:1a:b0:dd"  # of the card that no cable leads to, which every machine that has it finds first
NET = ADDRESS.rpartition(".")[0]
ROUTER = f"{NET}.240"
# Name -> target, how it is loaded, firmware, the trouble. The longest first.
TROUBLES: dict[str, tuple[str, str, str, dict[str, object]]] = {
    "http": ("ipxe.efi", "net", "uefi", {"dead": 1, "http_late": 20}),
    "dhcp": ("ipxe.lkrn", "kernel", "bios", {"dhcp_late": 20}),
    "vlan": ("ipxe.efi", "net", "uefi", {"dead": 1, "vlan": 42}),
    "next": ("undionly.kpxe", "net", "bios", {"next": ROUTER}),
    "card": ("ipxe.lkrn", "kernel", "bios", {"dead": 1}),
}


def test_two_builds_of_one_script_are_the_same_bytes(tmp_path: Path) -> None:
    text = script() + f"# {tmp_path}\n"
    made = [build(text, "undionly.kpxe", "ipxe.efi", out=tmp_path / side) for side in ("one", "two")]
    sums = [{name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in one.items()} for one in made]
    assert sums[0] == sums[1] and len(set(sums[0].values())) == 2
    assert script().encode() in made[0]["ipxe.efi"].read_bytes()


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "Future[tuple[Proof, str]]"]]:
    plain = build(script(), "undionly.kpxe", "ipxe.efi", "ipxe.lkrn")
    tagged = build(script("ipxe: {vlan: 42}\n"), *plain)  # the same ones: of the layers that are there now
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for name, (target, kind, firmware, trouble) in TROUBLES.items():
            file = (tagged if name == "vlan" else plain)[target]
            wanted = order(file, kind, firmware, **trouble)  # type: ignore[arg-type]
            found[name] = pool.submit(boot, tmp_path_factory.mktemp(name), wanted)
        yield found


Boots = dict[str, "Future[tuple[Proof, str]]"]


def test_an_http_server_that_comes_back_after_20_s(boots: Boots) -> None:
    proof, seen = boots["http"].result()
    assert proof.request.startswith(f"/boot/{CARD}.ipxe?") and proof.facts["platform"] == "efi"
    booted = f"net1: this machine is {MAC} with address {NET}."
    words = ["rackctl: round 1, looking for", f"rackctl: no boot script from http://{ADDRESS}:83/boot/ by {booted}"]
    # Only then the other card: the booted one comes first.
    words += [f"rackctl: net0 ({DEAD}) has no link: is its cable in?", "rackctl: trying again in 2 s"]
    in_order(seen, [*words, "rackctl: round 2", f"by {booted}", "rackctl: trying again in 4 s", "rackctl: round 3"])
    assert f", gateway {ADDRESS}" in seen


def test_a_dhcp_server_that_answers_20_s_late(boots: Boots) -> None:
    proof, seen = boots["dhcp"].result()
    assert proof.request.startswith(f"/boot/{CARD}.ipxe?") and proof.facts["platform"] == "pcbios"
    advice = "check the switch port, its VLAN and the DHCP server"
    in_order(seen, [f"rackctl: no DHCP answer on net0 ({MAC}): {advice}", "rackctl: trying again in 2 s", "round 2"])


def test_a_first_card_without_link(boots: Boots) -> None:
    proof, seen = boots["card"].result()
    assert proof.request.startswith(f"/boot/{CARD}.ipxe?")
    in_order(seen, ["rackctl: round 1", f"rackctl: net0 ({DEAD}) has no link: is its cable in?", f"{CARD}.ipxe"])
    assert "rackctl: trying again" not in seen, "the card with the cable is tried in the same round"


def test_a_router_that_names_itself_as_next_server(boots: Boots) -> None:
    proof, seen = boots["next"].result()
    said = proof.console.with_suffix(".log").read_text()
    assert f"next server: {ROUTER}" in said and f'"server":"{ADDRESS}"' in said
    assert "no boot script" not in seen, "the first question went to the right address"


def test_on_a_vlan_with_the_booted_card_second(boots: Boots) -> None:
    proof, seen = boots["vlan"].result()
    assert proof.facts["platform"] == "efi" and proof.request.startswith(f"/boot/{CARD}.ipxe?")
    assert "by net" not in seen, "the untagged address was not even tried"
