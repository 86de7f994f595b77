import os
from pathlib import Path

import pytest

from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack

PAGE = ("http/page/", "http/index.html")  # copied as they are
GOLDEN = Path(__file__).parent.parent / "golden"
IMAGES = {"tftp": "rackctl/tftp:0", "microhttp": "rackctl/microhttp:0"}
RACK = """\
server: {address: 10.98.0.1, http_port: 8083}
os: {name: rancheros, version: v1.5.8}
ssh_authorized_keys: [ssh-ed25519 AAAA me@here]
nodes:
  n1: {mac: "52:54:00:12:34:56"}
  n2: {mac: "52:54:00:12:34:57", os: {name: discovery}}
"""


def test_the_rendered_tree_is_the_golden_one() -> None:
    tree = render_rack(parse_rack(RACK), {}, {}, "rackctl-test", IMAGES)
    folder = GOLDEN / "rack"
    if os.environ.get("UPDATE_GOLDEN"):
        for path, content in tree.files.items():
            if path.startswith(PAGE):
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        pytest.fail("golden files were written; read the difference, then run without UPDATE_GOLDEN")
    made = {path: content for path, content in tree.files.items() if not path.startswith(PAGE)}
    wanted = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    assert made == wanted


def test_no_rancher_word_follows_the_double_dash_and_no_word_stands_twice() -> None:
    tree = render_rack(parse_rack(RACK), {}, {}, "rackctl-test", IMAGES)
    for path, content in tree.files.items():
        if path.endswith(".ipxe"):
            words = next(line for line in content.decode().splitlines() if line.startswith("kernel ")).split()
            assert "--" not in words
            assert len(words) == len(set(words))


def test_an_overlay_is_a_second_initrd_of_its_machine_alone() -> None:
    overlays = {"52-54-00-12-34-56": ("overlay-1.cpio.gz", "1" * 64)}
    tree = render_rack(parse_rack(RACK), {}, {}, "rackctl-test", IMAGES, overlays=overlays)
    script = tree.files["http/boot/52-54-00-12-34-56.ipxe"].decode()
    assert " initrd=initrd.magic " in script
    assert script.index("initrd --name initrd ") < script.index(
        "initrd --name overlay-1.cpio.gz ${os}/overlay-1.cpio.gz?"
    )
    assert tree.artifacts["http/os/rancheros/v1.5.8/overlay-1.cpio.gz"] == "1" * 64
    assert b"overlay" not in tree.files["http/boot/default.ipxe"]


def test_what_discovered_machines_do_is_no_business_of_a_node_that_runs_the_discovery_os() -> None:
    files = render_rack(parse_rack(RACK + "discovered: reboot\n"), {}, {}, "rackctl-test", IMAGES).files
    assert b" rackctl.then=reboot " in files["http/boot/default.ipxe"]
    assert b"rackctl.then" not in files["http/boot/52-54-00-12-34-57.ipxe"]


def test_the_id_follows_the_bytes() -> None:
    one = render_rack(parse_rack(RACK), {}, {}, "p", IMAGES)
    assert one.id == render_rack(parse_rack(RACK), {}, {}, "p", IMAGES).id
    assert one.id != render_rack(parse_rack(RACK), {}, {"undionly.kpxe": "0" * 64}, "p", IMAGES).id
