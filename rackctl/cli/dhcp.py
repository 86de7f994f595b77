"""CLI. dhcp: settings for the router at hand, and who answers on the wire."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say

dhcp = typer.Typer(no_args_is_help=True, help="The router's settings, and who answers DHCP on the wire.")
app.add_typer(dhcp, name="dhcp")


class Firmware(StrEnum):
    """Whose boot file a router that knows only one gets."""

    bios = "bios"
    uefi = "uefi"


@dhcp.command()
def show(
    kind: Annotated[
        str,
        typer.Option(
            "--for",
            help="unifi, edgerouter (usg), openwrt, mikrotik, pfsense, opnsense, dhcpd (isc), kea, dnsmasq, pihole, "
            "windows, cisco, juniper, fritzbox or technitium.",
        ),
    ],
    firmware: Annotated[
        Firmware, typer.Option(help="Whose boot file a router that can name only one is given.")
    ] = Firmware.uefi,
    rack: RackOption = Path(),
) -> None:
    """Print the exact settings for one kind of router, from rack.yml; needs no engine.

    Example: rackctl dhcp show --for openwrt
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.dhcp.advice import find_kind, render_advice
    from rackctl.dhcp import known_loaders

    found = find_kind(kind)
    folder = RackFolder(rack)
    parsed = folder.read_rack()
    say(render_advice(parsed, found, known_loaders(folder, parsed), firmware.value).rstrip("\n"))
