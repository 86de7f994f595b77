"""Inventories: real ones against the published schema, the discovery OS' json.awk, and anything hostile."""

import json
import os
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.adapters.inventories import MOST_BYTES, Inventories, read_inventory
from rackctl.core.inventory import MAX_BYTES, parse_inventory
from rackctl.core.nics import FIRMWARE, find_driver, parse_pci

TOP = Path(__file__).parents[2]
CASES = sorted((TOP / "tests/cases/inventory").glob("*.json"))
SCHEMA = json.loads((TOP / "docs/inventory.schema.json").read_text())
AWK = next((found for name in ("mawk", "gawk", "awk") if (found := shutil.which(name))), None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_real_one_keeps_the_schema(case):
    jsonschema.validate(json.loads(case.read_text()), SCHEMA)
    found = parse_inventory(case.read_bytes())
    assert found.memory > 0 and found.threads > 0 and found.nics[0].driver
    assert "QEMU" in found.summary


@pytest.mark.skipif(AWK is None, reason="no awk on this machine")
def test_json_awk_writes_json_whatever_the_values_are():
    lines = [
        "s mac 52:54:00:00:00:01", "n schema 1", 's system.vendor He said "no" \\ \t\x01 x', "s system.product None",
        "n memory.bytes 12", "n memory.dimms.0.bytes x", "s memory.dimms.0.slot A", "s memory.dimms.1.slot B",
        "s nics.0.name eth0", "b nics.0.link true", "s nics.0.neighbour.port Gi1/0/1", "s nics.1.name eth1",
        "s bmc.address 10.0.0.9",
    ]  # fmt: skip
    done = subprocess.run([AWK, "-f", TOP / "compose/discovery/json.awk"], input="\n".join(lines), text=True,
                          capture_output=True, check=True)  # fmt: skip
    found = json.loads(done.stdout)
    jsonschema.validate(found, SCHEMA)
    assert found["system"] == {"vendor": 'He said "no" \\  x'}
    assert found["memory"] == {"bytes": 12, "dimms": [{"slot": "A"}, {"slot": "B"}]}
    assert found["nics"][0] == {"name": "eth0", "link": True, "neighbour": {"port": "Gi1/0/1"}}
    assert parse_inventory(done.stdout.encode()).bmc_address == "10.0.0.9"


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
                        ["mac", "system", "bios", "cpu", "memory", "disks", "nics", "bmc", "serial", "bytes", "dimms",
                         "neighbour", "pci", "threads", "undriven", "address"]), inner), max_leaves=12)  # fmt: skip


@given(st.binary() | JSON.map(lambda found: json.dumps(found).encode()))
def test_anything_gives_an_inventory_or_nothing(data):
    found = parse_inventory(data)
    if found:
        assert all(
            text.isprintable() and len(text) <= 100 for text in (found.vendor, found.serial, found.summary[:100])
        )
        json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("data", [b"[" * 65000, b"{}" * 40000, b'{"nics":' + b"9" * 5000 + b"}", b"\xff\xfe"])
def test_hostile_ones_are_nothing(data):
    assert parse_inventory(data) is None


def test_only_well_named_files_count_and_links_are_not_followed(tmp_path):
    (tmp_path / "52-54-00-00-00-01.json").write_text('{"mac":"aa:aa:aa:aa:aa:aa"}')
    (tmp_path / "evil.json").write_text("{}")
    (tmp_path / "52-54-00-00-00-02.json").symlink_to("/etc/passwd")
    assert list(Inventories(tmp_path).read()) == ["52:54:00:00:00:01"]
    assert read_inventory(tmp_path, "52:54:00:00:00:03") is None


@pytest.mark.parametrize(("text", "pci", "driver"), [
    ("0110ec8139", "10ec:8139", "8139too"), ("8086:100E", "8086:100e", "e1000"), ("14e4:1639", "14e4:1639", "bnx2"),
    ("01 80 86 15 33", "8086:1533", "igb"),
    ("1af4:1000", "1af4:1000", "virtio_net"), ("02abcd", None, None)])  # fmt: skip
def test_a_card_names_its_driver(text, pci, driver):
    assert parse_pci(text) == pci
    assert pci is None or find_driver(pci) == driver
    assert all(one.package.startswith("firmware-") for one in FIRMWARE.values())


def test_what_inventories_cost_is_bounded_and_paid_once(tmp_path, monkeypatch):
    """2,048 machines, or one that lies about its MAC, each with as much as microhttp takes."""
    row = {"name": "n" * 90, "model": "m" * 100, "serial": "s" * 100, "mac": "52:54:00:00:00:01", "pci": "8086:100e"}
    body = json.dumps({"disks": [row] * 64, "nics": [row] * 64})
    body += " " * (MAX_BYTES - len(body))
    for n in range(2048):
        (tmp_path / f"52-54-00-00-{n >> 8:02x}-{n & 255:02x}.json").write_text(body)
        os.utime(tmp_path / f"52-54-00-00-{n >> 8:02x}-{n & 255:02x}.json", (n, n))
    inventories = Inventories(tmp_path)
    tracemalloc.start()
    found = inventories.read(first=["52:54:00:00:00:07"])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 8 * 2**20
    assert len(found) == MOST_BYTES // MAX_BYTES
    assert {"52:54:00:00:00:07", "52:54:00:00:07:ff"} <= set(found)  # a node of rack.yml, and the latest
    opened = []
    monkeypatch.setattr("rackctl.adapters.inventories.read_inventory", lambda _folder, mac: opened.append(mac))
    assert inventories.read(first=["52:54:00:00:00:07"]) == found and opened == []
    (tmp_path / "52-54-00-00-07-ff.json").write_text("{}")
    inventories.read(first=["52:54:00:00:00:07"])
    assert opened == ["52:54:00:00:07:ff"]
