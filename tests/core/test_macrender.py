import json

from rackctl.core.catalog import Catalog
from rackctl.core.config.sources import Inputs
from rackctl.core.events import Event, Stage
from rackctl.core.httplog import parse_http_line
from rackctl.core.load import parse_rack
from rackctl.core.macrender import render_mac_files
from rackctl.core.render import render_embed, render_rack
from rackctl.core.services import services_of
from rackctl.core.targets import needed_targets

RACK = """\
server: {address: 10.99.0.1}
os: {name: discovery}
mac: {bsdp: true, icon_per_os: true}
nodes:
  mini: {mac: '00:16:cb:00:00:01', mac_model: 'Macmini6,2'}
  r610: {mac: '00:24:e8:00:00:01', os: {name: rancheros, version: v1.5.8}}
"""
LOADERS = {"ipxe.efi": "0" * 64, "ipxe-ia32.efi": "1" * 64}
IMAGES = {"tftp": "t", "microhttp": "m", "bsdp": "b"}


def test_each_icon_has_a_script_and_a_config_for_each_mac() -> None:
    files = render_mac_files(parse_rack(RACK), Catalog(), LOADERS, Inputs())
    assert sorted(files) == [
        "bsdp/dnsmasq.conf",
        "http/boot/discovery/00-16-cb-00-00-01.ipxe",
        "http/boot/discovery/default.ipxe",
        "http/boot/rancheros/00-16-cb-00-00-01.ipxe",
        "http/boot/rancheros/default.ipxe",
        "http/config/00-16-cb-00-00-01.discovery",
        "http/config/00-16-cb-00-00-01.rancheros",
        "http/config/default.discovery",
        "http/config/default.rancheros",
    ]
    script = files["http/boot/rancheros/00-16-cb-00-00-01.ipxe"].decode()
    assert "/os/rancheros/v1.5.8" in script
    assert "/config/00-16-cb-00-00-01.rancheros]" in script
    assert b"hostname: mini" in files["http/config/00-16-cb-00-00-01.rancheros"]


def test_the_binaries_of_an_icon_ask_for_its_scripts() -> None:
    rack = parse_rack(RACK)
    assert "--replace ${base}/boot/rancheros/${mac:hexhyp}.ipxe" in render_embed(rack, "boot/rancheros")
    assert "/boot/rancheros" not in render_embed(rack)


def test_the_responder_is_a_service_that_starts_again_when_its_configuration_changes() -> None:
    one = render_rack(parse_rack(RACK), {}, LOADERS, "p", IMAGES).files["compose.yml"].decode()
    two = render_rack(parse_rack(RACK.replace("true}", "true, label: Mine}")), {}, LOADERS, "p", IMAGES)
    assert "bsdp:" in one
    assert one != two.files["compose.yml"].decode()


def test_a_rack_without_macs_is_as_before() -> None:
    rack = parse_rack("server: {address: 10.99.0.1}\n")
    assert render_mac_files(rack, Catalog(), LOADERS, Inputs()) == {}
    assert services_of(rack) == ("tftp", "microhttp")
    assert needed_targets(rack) == ("undionly.kpxe", "ipxe.efi", "snponly.efi")
    assert "bsdp" not in render_rack(rack, {}, {}, "p", IMAGES).files["compose.yml"].decode()


def test_a_rack_with_macs_needs_32_bit_binaries() -> None:
    assert "ipxe-ia32.efi" in needed_targets(parse_rack(RACK))
    assert services_of(parse_rack(RACK)) == ("tftp", "microhttp", "bsdp")


def test_a_script_of_an_icon_is_a_script_in_the_timeline() -> None:
    line = {"end": 5.0, "ip": "10.99.0.7", "m": "GET", "uri": "/boot/rancheros/00-16-cb-00-00-01.ipxe?x=1", "st": 200,
            "sent": 9, "len": "9", "range": "", "dur": 0.1, "done": "OK", "ua": "iPXE"}  # fmt: skip
    event = parse_http_line(json.dumps(line))
    assert isinstance(event, Event)
    assert (event.stage, event.mac) == (Stage.SCRIPT, "00:16:cb:00:00:01")
