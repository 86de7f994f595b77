import json
import os
import re
from pathlib import Path

import peers
import pytest

from rackctl.core.dhcp.advice import TITLES, Loaders, encode_routes, find_kind, render_advice
from rackctl.core.dhcp.arch import ARCHES, choose_loaders, loader_for
from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError

GOLDEN = Path(__file__).parent.parent / "golden" / "dhcp"
SOURCE = ("undionly.kpxe", "ipxe.efi", "snponly.efi")
PREBUILT = ("pxelinux.0", "ldlinux.c32", "ipxe.lkrn", "ipxe.efi", "autoexec.ipxe")
ALL = (*SOURCE, "snponly-ia32.efi", "ipxe-arm64.efi")
RACK = """\
server: {address: 10.98.0.1, http_port: 8083}
dhcp:
  subnet: 10.98.0.0/24
  ranges: [10.98.0.100-10.98.0.149, 10.98.0.160-10.98.0.169]
  router: 10.98.0.2
  dns: [10.98.0.2, 10.98.0.3]
  ntp: [10.98.0.2]
  domain: rack.example
  routes: {10.1.0.0/16: 10.98.0.9}
nodes:
  n1: {mac: "52:54:00:67:00:01", address: 10.98.0.21}
  n2: {mac: "52:54:00:67:00:02"}
"""
BARE = "server: {address: 10.98.0.1}\n"


def advise(kind: str, rack: str = RACK, files: tuple[str, ...] = SOURCE, **more: str) -> str:
    return render_advice(parse_rack(rack), kind, Loaders(files, "a test"), **more)


@pytest.mark.parametrize("kind", TITLES)
def test_the_settings_are_the_golden_ones(kind: str) -> None:
    file, found = GOLDEN / f"{kind}.txt", advise(kind)
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found)
        pytest.fail("golden files were written; read the difference, then run without UPDATE_GOLDEN")
    assert found == file.read_text()


@pytest.mark.parametrize("kind", [kind for kind, title in TITLES.items() if title != "cannot"])
def test_every_file_named_is_one_that_is_served(kind: str) -> None:
    for files in (SOURCE, PREBUILT, ALL):
        text = "\n".join(
            line for line in advise(kind, files=files).splitlines() if not line.startswith(("#", "!", "//"))
        )
        named = set(re.findall(r"[\w-]+\.(?:efi|kpxe)|pxelinux\.0", text))
        assert named
        assert named <= set(files)


@pytest.mark.parametrize("kind", [kind for kind, title in TITLES.items() if "per" in title])
def test_every_architecture_with_a_loader_is_told_its_file(kind: str) -> None:
    text = advise(kind, files=ALL)
    for choice in choose_loaders("10.98.0.1", 8083, ALL):
        if kind == "pfsense" and choice.family in ("uefi-ia32-http", "uefi-arm64-http"):
            continue  # pfSense has one field for HTTP boot
        assert choice.file in text


@pytest.mark.parametrize("kind", ["cisco", "unifi", "juniper", "technitium"])
def test_a_dumb_router_is_told_one_file(kind: str) -> None:
    assert "snponly.efi is for UEFI x86_64" in advise(kind)
    assert "undionly.kpxe is for BIOS" in advise(kind, firmware="bios")


def test_cisco_knows_a_node_by_its_client_identifier() -> None:
    """IOS compares hardware-address with BOOTP requests alone; DHCP clients are known by option 61."""
    text = advise("cisco")
    assert " client-identifier 0152.5400.6700.01\n" in text
    assert "\n hardware-address" not in text


def test_mikrotik_matches_option_93_whole() -> None:
    """matching-type=substring came with 7.16 only; every option-set a matcher names is made before."""
    text = advise("mikrotik", files=ALL)
    assert "matching-type" not in text
    found = dict(re.findall(r"code=93 value=0x(\w{4}) option-set=(\S+)", text))
    assert {int(code, 16) for code in found} == {arch.code for arch in ARCHES if arch.code and loader_for(arch, ALL)}
    for name in set(found.values()):
        assert f"\nadd name={name} options=" in text


@pytest.mark.parametrize("files", [SOURCE, PREBUILT, ALL])
def test_pfsense_is_given_all_five_names(files: tuple[str, ...]) -> None:
    """With one of them empty it writes no rule by architecture, and UEFI gets the BIOS file."""
    names = re.findall(
        r"^  (?:Default BIOS|UEFI 32 bit|UEFI 64 bit|ARM 32 bit|ARM 64 bit) File Name +(\S+)",
        advise("pfsense", files=files),
        re.M,
    )
    assert len(names) == 5
    assert set(names) <= set(files)


def test_junos_names_all_ntp_servers_in_one_list() -> None:
    text = advise("juniper", RACK.replace("ntp: [10.98.0.2]", "ntp: [10.98.0.2, 10.98.0.4]"))
    assert "option 42 array ip-address [ 10.98.0.2 10.98.0.4 ]" in text


def test_a_router_that_cannot_says_so() -> None:
    text = advise("fritzbox")
    assert "cannot" in text
    assert "dhcp: proxy" in text


def test_aliases_and_an_unknown_kind() -> None:
    assert find_kind("USG") == "edgerouter"
    assert find_kind("isc") == "dhcpd"
    with pytest.raises(ConfigError) as caught:
        find_kind("mikrotic")
    assert "did you mean mikrotik?" in caught.value.message


def test_kea_is_json_without_its_comments() -> None:
    text = "\n".join(line for line in advise("kea").splitlines() if not line.lstrip().startswith("//"))
    found = json.loads(text)["Dhcp4"]
    assert next(c["name"] for c in found["client-classes"]) == "rackctl-ours"


def test_routes_are_rfc_3442() -> None:
    assert encode_routes(["10.17.0.0/16", "10.0.0.1", "0.0.0.0/0", "10.0.0.2"]) == [
        16,
        10,
        17,
        10,
        0,
        0,
        1,
        0,
        10,
        0,
        0,
        2,
    ]


def test_codes_7_and_9_load_the_same() -> None:
    by_code = {arch.code: arch for arch in ARCHES}
    assert loader_for(by_code[7], SOURCE) == loader_for(by_code[9], SOURCE) == "snponly.efi"
    assert loader_for(by_code[7], ("ipxe.efi",)) == "ipxe.efi"
    assert loader_for(by_code[11], SOURCE) is None


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq"])
@pytest.mark.parametrize(
    "rack", [RACK, BARE, BARE + "nodes: {n1: {mac: '52:54:00:67:00:01'}}\n"], ids=["full", "bare", "node"]
)
def test_the_program_itself_takes_its_file(kind: str, rack: str) -> None:
    for files in (SOURCE, ALL):
        peers.check(kind, advise(kind, rack, files))
    if kind == "dnsmasq":
        peers.check(kind, advise("pihole", rack))


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq"])
def test_the_program_itself_would_refuse_a_wrong_file(kind: str) -> None:
    with pytest.raises(AssertionError):
        peers.check(kind, advise(kind).replace("10.98.0.1", "10.98.0.x"))
