"""Every name of a loader that a rack tells machines, routers or people is one that it serves, with that service."""

import re
from pathlib import Path

import pytest

from rackctl.adapters.ipxe import plan_files
from rackctl.core.dhcp.advice import TITLES, Loaders, render_advice
from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack
from rackctl.core.targets import needed_targets

HEAD = "server: {address: 10.98.0.1, http_port: 8083}\n"
MODES = {
    "router": "",
    "proxy": "dhcp: proxy\n",
    "server": "dhcp: {mode: server, subnet: 10.98.0.0/24, ranges: [10.98.0.100-10.98.0.149]}\n",
}
# Lane of the build, rack.yml, and a name that is told there and not of each other rack.
RACKS = {
    "plain": ("source", "", "snponly.efi"),
    "prebuilt": ("prebuilt", "ipxe: prebuilt\n", "pxelinux.0"),
    "signed": ("signed", "ipxe: signed\n", "snponly-shim.efi"),
    "arm64": ("source", "ipxe: {targets: [ipxe-arm64.efi]}\n", "ipxe-arm64.efi"),
    "drivers": ("source", "nodes: {a: {mac: '52:54:00:00:00:01', loader: ipxe}}\n", "undionly.kpxe"),
    "macs": ("source", "mac: {bsdp: true}\n", "snponly-ia32.efi"),
}
URL = re.compile(r"http://10\.98\.0\.1:8083/(ipxe/[\w./-]+)")
NAME = re.compile(r"[\w/-]*\b(?:[\w-]+\.(?:efi|k?pxe|lkrn)|pxelinux\.0)(?![\w.])")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", RACKS)
def test_no_name_is_told_that_is_not_served(name: str, mode: str) -> None:
    lane, more, sign = RACKS[name]
    rack = parse_rack(HEAD + more + MODES[mode])
    files = plan_files(Path("/none"), lane, needed_targets(rack))[1]
    images = {"tftp": "t", "microhttp": "m", "bsdp": "b"}
    tree = render_rack(rack, {}, {file: file for file in files}, "p", images)
    texts = {path: raw.decode() for path, raw in tree.files.items() if re.search(r"dnsmasq\.conf$|\.ipxe$", path)}
    texts |= {kind: render_advice(rack, kind, Loaders(files, "a test")) for kind in TITLES}
    told = set()
    for text in texts.values():
        told |= {f"http/{path}" for path in URL.findall(text)}
        told |= {f"tftp/{file}" for file in NAME.findall(URL.sub("", text))}
    assert f"tftp/{sign}" in told, "what is looked for is found at all"
    assert told <= set(tree.artifacts)
