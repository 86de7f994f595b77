"""Core. What a rack with Macs adds to the tree: the responder's configuration, and the scripts of each icon's OS."""

from __future__ import annotations

from collections.abc import Collection

from rackctl.core.bootscript import DEFAULT, render_boot_script
from rackctl.core.catalog import Catalog
from rackctl.core.config.render import render_config
from rackctl.core.config.sources import Inputs
from rackctl.core.macdhcp import responder_conf
from rackctl.core.macplan import Offer, has_macs, make_plan
from rackctl.core.model import Node, Rack, hyphenate

RESPONDER_CONF = "bsdp/dnsmasq.conf"


def render_mac_files(rack: Rack, catalog: Catalog, loaders: Collection[str], inputs: Inputs) -> dict[str, bytes]:
    """Path -> content; empty for a rack without Macs. loaders: names that TFTP serves."""
    if not has_macs(rack):
        return {}
    plan = make_plan(rack, ia32=any(name.endswith("-ia32.efi") for name in loaders))
    files = {RESPONDER_CONF: responder_conf(plan).encode()} if rack.mac.bsdp else {}
    machines: list[tuple[str, Node | None]] = [(DEFAULT, None), *rack.nodes.items()]
    for offer in plan.offers:
        for name, node in machines:
            if offer.os and (node is None or node.is_mac):
                files |= _icon_files(rack, catalog, offer, name, node, inputs)
    return files


def _icon_files(
    rack: Rack, catalog: Catalog, offer: Offer, name: str, node: Node | None, inputs: Inputs
) -> dict[str, bytes]:
    """The script and the config of one machine for one icon, beside those that rack.yml gives it."""
    # Who clicked an icon wants that OS, whatever rack.yml says of unknown machines and of disks.
    plain = Node.model_fields["boot"].default
    machine = node.model_copy(update={"os": offer.os, "boot": plain}) if node else None
    nodes = {**rack.nodes, name: machine} if machine else rack.nodes
    chosen = rack.model_copy(update={"os": offer.os, "unknown": "boot", "nodes": nodes})
    key = hyphenate(node.mac) if node else DEFAULT
    suffix = f".{offer.key}"
    config = render_config(chosen, catalog.get(chosen.os.name), name if node else None, key + suffix, inputs)
    script = render_boot_script(chosen, catalog, name, machine, config, suffix=suffix)
    return {f"http/boot/{offer.key}/{key}.ipxe": script.encode()} | {
        f"http/config/{path}": content for path, content in config.files.items()
    }
