"""CLI. lab: a virtual rack on this machine, to try a boot before any hardware does."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, show_stages, show_timeline, teller

if TYPE_CHECKING:
    from rackctl.adapters.lab import Network

lab = typer.Typer(no_args_is_help=True, help="A virtual rack on this machine: real firmware in QEMU.")
app.add_typer(lab, name="lab")


class Firmware(StrEnum):
    """How the virtual machine starts."""

    bios = "bios"
    uefi = "uefi"
    uefi_ia32 = "uefi-ia32"


class BmcProtocol(StrEnum):
    """How rack.yml reaches the BMCs of a virtual rack."""

    ipmi = "ipmi"
    redfish = "redfish"
    both = "both"


class Until(StrEnum):
    """A stage to wait for."""

    script = "script"
    kernel = "kernel"
    initrd = "initrd"
    config = "config"
    checkin = "checkin"


class Nic(StrEnum):
    """A network card that QEMU has."""

    virtio = "virtio"
    e1000 = "e1000"
    e1000e = "e1000e"
    e100 = "e100"
    pcnet = "pcnet"
    rtl8139 = "rtl8139"
    vmxnet3 = "vmxnet3"


@lab.command()
def up(
    nodes: Annotated[int, typer.Option(help="Virtual machines, each behind a BMC of its own (default: none).")] = 0,
    bmc: Annotated[
        BmcProtocol, typer.Option(help="How rack.yml reaches them; both: one by IPMI, the next by Redfish.")
    ] = BmcProtocol.ipmi,
    memory: Annotated[int, typer.Option(help="MiB of each virtual machine.")] = 768,
    rack: RackOption = Path(),
) -> None:
    """Make the lab's network and, with --nodes, a virtual rack: machines behind real IPMI BMCs, and its rack.yml.

    The network's address is 10.98.0.1/24, or what RACKCTL_LAB says; a rack can have it as its server.address.

    Example: rackctl lab up --nodes 3 --rack virtual
    """
    from rackctl.adapters import engine, imagebuild
    from rackctl.adapters import lab as adapter

    network = adapter.find_network()
    engine.check_engine()
    image = imagebuild.build_image("lab", say)
    adapter.set_up_network(image, network)
    say(f"the lab's network is up: {network.address} on the bridge {network.bridge}")
    if nodes:
        _up_rack(nodes, memory, bmc, rack, image, network)


def _up_rack(count: int, memory: int, bmc: BmcProtocol, rack: Path, image: str, network: Network) -> None:
    import secrets

    from rackctl.adapters import labrack
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.labrack import REDFISH_PORT, SECRET, Protocol, plan_nodes

    folder, protocol = RackFolder(rack), Protocol(bmc.value)
    planned = plan_nodes(count, network.address)
    port = labrack.free_http_port(network.address)
    if labrack.write_rack(folder.path, planned, port, secrets.token_hex(8), protocol):
        say(f"wrote {folder.path / 'rack.yml'} and the BMCs' password beside it")
    labrack.start_bmcs(folder.project, folder.work, image, planned, network.environment, memory)
    if protocol is not Protocol.IPMI:
        from rackctl.adapters.redfishlab import start_redfish

        password = (folder.path / SECRET).read_text().strip()
        start_redfish(folder.work, labrack.bmcs_name(folder.project), planned, REDFISH_PORT, password)
        say(f"Redfish: http://{network.address}:{REDFISH_PORT}/redfish/v1")
    for node in planned:
        say(f"  {node.name}  {node.firmware}  {node.mac}  BMC {node.address} port {node.port}, off")
    say(f"next: rackctl up --rack {rack}, then rackctl provision --all --rack {rack}")


@lab.command()
def down(rack: RackOption = Path()) -> None:
    """Stop the virtual rack of this folder, if there is one, and remove the lab's network.

    Example: rackctl lab down
    """
    from rackctl.adapters import engine, imagebuild
    from rackctl.adapters import lab as adapter
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.labrack import stop_bmcs
    from rackctl.adapters.redfishlab import stop_redfish

    network = adapter.find_network()
    engine.check_engine()
    stop_redfish(RackFolder(rack).work)
    if stop_bmcs(RackFolder(rack).project):
        say("the virtual rack is down")
    adapter.remove_network(imagebuild.build_image("lab", say), network)
    say("the lab's network is gone")


@lab.command()
def boot(
    node: Annotated[str, typer.Argument(help="A node of rack.yml to play (default: an unknown machine).")] = "",
    firmware: Annotated[Firmware, typer.Option(help="How the machine starts.")] = Firmware.bios,
    os: Annotated[str, typer.Option(help="Play the first machine of rack.yml that boots this OS.")] = "",
    memory: Annotated[int, typer.Option(help="MiB of the virtual machine (default: what the OS needs).")] = 0,
    until: Annotated[
        Until | None, typer.Option(help="The stage that counts as done (default: checkin; config for an installer).")
    ] = None,
    silence: Annotated[
        float, typer.Option(help="Seconds without a sign of life after which it counts as stuck (default: by the OS).")
    ] = 0,
    nic: Annotated[Nic, typer.Option(help="The network card, to see whether an OS has its driver.")] = Nic.virtio,
    clock: Annotated[
        str, typer.Option(help="What its hardware clock says, UTC, like 2001-01-01T00:00:00 (default: the time).")
    ] = "",
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Boot one virtual machine from power-off through the running services, and say where it hangs if it does.

    Example: rackctl lab boot --firmware uefi
    """
    from rackctl import trial
    from rackctl.adapters import engine, imagebuild
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.lab import Machine
    from rackctl.core.events import Stage

    folder = RackFolder(rack)
    found = folder.read_rack()
    _check_clock(clock)
    engine.check_engine()
    trial.require_services(folder)
    tell = teller(as_json)
    mac = trial.choose_mac(found, node, os, firmware.value)
    machine = Machine(
        mac=mac,
        firmware=firmware.value,
        file=trial.loader_for(folder, firmware.value),
        server=found.server.address,
        memory=memory or trial.choose_memory(found, mac, folder.catalog()),
        nic=nic.value,
        clock=clock,
    )
    usual, goal = trial.choose_patience(found, mac, folder.catalog())
    silence, goal = silence or usual, Stage[until.value.upper()] if until else goal
    image = imagebuild.build_image("lab", tell)
    tell(f"power on: {machine.mac} {machine.firmware}; console in {rack / '.rackctl' / 'lab'}")
    try:
        done = trial.boot_machine(folder, machine, image, show_stages(tell), silence, goal)
    except trial.Stuck as stuck:
        if as_json:
            say(json.dumps(stuck.to_json()))
        raise
    say(json.dumps(done.timeline.to_json()) if as_json else show_timeline(done.timeline))


def _check_clock(clock: str) -> None:
    import re

    from rackctl.errors import ConfigError

    if clock and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", clock, re.ASCII):
        raise ConfigError(f"--clock {clock!r} is no time", remedy="write it like 2001-01-01T00:00:00")
