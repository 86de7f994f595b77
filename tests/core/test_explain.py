"""What `rackctl explain` tells is what is rendered, and each key's line is that of the file."""

import pytest

from rackctl.core.dhcp.arch import arch_by_key
from rackctl.core.explain import Step, Subject, explain_machine
from rackctl.core.load import find_line, parse_rack
from rackctl.core.render import render_rack

TEXT = """\
server:
  address: 10.98.0.1
  http_port: 8083
dhcp:
  mode: server
  ranges: [10.98.0.100-10.98.0.149]
kernel_args: [quiet]
nodes:
  n1:
    mac: "52:54:00:67:00:01"
    address: 10.98.0.21
  n2: {mac: "52:54:00:67:00:02"}
unknown: ignore
"""
FILES = ("undionly.kpxe", "ipxe.efi", "snponly.efi")


def explain(mac: str, text: str = TEXT, arch: str = "uefi") -> dict[str, Step]:
    rack = parse_rack(text)
    tree = render_rack(rack, {}, dict.fromkeys(FILES, ""), "p", {"tftp": "", "microhttp": ""})
    subject = Subject(rack, mac, FILES, "a test", tree.files, lambda path: find_line(text, path), arch_by_key(arch))
    return {step.name: step for step in explain_machine(subject)}


def test_a_node_is_told_with_the_lines() -> None:
    steps = explain("52:54:00:67:00:01")
    assert steps["machine"].because == (("nodes.n1.mac", 10),)
    assert steps["address"].text.startswith("10.98.0.21")
    assert steps["address"].because == (("nodes.n1.address", 11),)
    answer = steps["boot answer, UEFI x86_64 (7)"]
    assert "file snponly.efi" in answer.text
    assert answer.because == (("dhcp", 4), ("server.address", 2))
    assert steps["script"].text == "http://10.98.0.1:8083/boot/52-54-00-67-00-01.ipxe"
    assert ("kernel_args", 7) in steps["kernel"].because
    assert "quiet" in steps["kernel"].text
    assert "${" not in steps["kernel"].text
    assert steps["config"].text.startswith("http://10.98.0.1:8083/config/52-54-00-67-00-01 ")


def test_an_unknown_machine_is_ignored_or_boots_the_default() -> None:
    assert "unanswered" in explain("52:54:00:00:00:99")["boot answer"].text
    steps = explain("52:54:00:00:00:99", TEXT.replace("ignore", "boot"))
    assert "/boot/default.ipxe" in steps["script"].text
    assert steps["address"].because == (("dhcp.ranges", 6),)


def test_a_default_has_no_line() -> None:
    steps = explain("52:54:00:67:00:01", "server: {address: 10.98.0.1}\n", "bios")
    assert steps["system"].because == (("unknown", None),)
    assert "the router must say next-server 10.98.0.1, file undionly.kpxe" in steps["boot answer, BIOS x86 (0)"].text


@pytest.mark.parametrize("arch", ["uefi-arm64", "19"])
def test_no_loader_is_said(arch: str) -> None:
    steps = explain("52:54:00:67:00:01", arch=arch)
    assert any(step.text.startswith("none: no loader") for step in steps.values())
