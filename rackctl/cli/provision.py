"""CLI. provision: machines from power-off to the check-in; preflight: the same boot in a virtual machine first."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, show_stages, show_timeline, teller
from rackctl.cli.power import AllOption, GroupOption, NodesArgument, StaggerOption

if TYPE_CHECKING:
    from rackctl.core.dhcp.arch import Loader
    from rackctl.core.inventory import Inventory
    from rackctl.core.provision import Run
    from rackctl.core.timeline import Timeline


@app.command()
def provision(
    nodes: NodesArgument = None,
    everything: AllOption = False,
    group: GroupOption = "",
    reinstall: Annotated[bool, typer.Option("--reinstall", help="Install again what is installed.")] = False,
    parallel: Annotated[int, typer.Option(min=1, help="Machines on their way at a time.")] = 16,
    stagger: StaggerOption = 0.0,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Boot machines from the network and follow them until they are up, or say at which stage each stopped and why.

    Serves what rack.yml says, asks the BMCs, sets the next boot to PXE, power-cycles, and follows the boots live.
    Ctrl-C leaves the machines as they are.

    Example: rackctl provision node1
    """
    from rackctl import apply
    from rackctl.adapters.folder import RackFolder
    from rackctl.cli.power import _open
    from rackctl.core.provision import summary
    from rackctl.errors import BootError
    from rackctl.provision import Options, Provision

    tell = teller(as_json)
    session, chosen = _open(rack, nodes, group, everything, as_json)
    folder = RackFolder(rack)
    served = apply.bring_up(folder, tell)
    tell(f"tree {served.tree} is served and checked; asking {len(chosen)} BMCs")
    begun = time.time()

    def watch(run: Run, timeline: Timeline | None) -> None:
        stage = run.reached[-1] if run.reached else "power-on"
        extra = f" (try {run.tries})" if run.tries > 1 else ""
        tell(f"  {time.time() - begun:6.1f} s  {run.node}  {stage}{extra}")

    def serve(loaders: Mapping[str, Loader]) -> None:
        apply.bring_up(folder, tell, other=loaders)

    # Debian's prebuilt files have one loader for each firmware; behind a bridge TFTP cannot tell machines apart.
    can_change = served.lane == "source" and session.rack.server.network == "host"
    work = Provision(folder, session.rack, session, tell, watch, serve if can_change else None)
    endings, stopped = work.carry_out(chosen, Options(parallel, stagger, reinstall))
    if as_json:
        typer.echo(json.dumps({"nodes": [ending.to_json() for ending in endings]}))
    else:
        say(summary(endings))
    if stopped:
        raise KeyboardInterrupt
    bad = [ending for ending in endings if not ending.ok]
    if bad:
        names = ", ".join(ending.node for ending in bad)
        raise BootError(
            f"{len(bad)} of {len(endings)} are not up: {names}", remedy="rackctl timeline NODE shows how far"
        )


@app.command()
def preflight(
    node: Annotated[str, typer.Argument(help="Name in rack.yml.")],
    memory: Annotated[int, typer.Option(help="MiB of the virtual machine (default: what the OS needs).")] = 0,
    silence: Annotated[
        float, typer.Option(help="Seconds without a sign of life after which it counts as stuck (default: by the OS).")
    ] = 0,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Boot a virtual machine as this node, through the running services, before the hardware is touched.

    It has the node's MAC, firmware, loader, script and config, and its UUID and serial number where an inventory told
    them. Its check-in counts as one of the node.

    Example: rackctl preflight node1
    """
    from rackctl import trial
    from rackctl.adapters import engine, imagebuild
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.inventories import read_inventory
    from rackctl.adapters.lab import Machine

    folder = RackFolder(rack)
    found = folder.read_rack()
    mac = trial.choose_mac(found, node, "", "")
    firmware = found.nodes[node].firmware or "bios"
    engine.check_engine()
    trial.require_services(folder)
    tell = teller(as_json)
    usual, goal = trial.choose_patience(found, mac, folder.catalog())
    machine = Machine(
        mac=mac, firmware=firmware, file=trial.loader_for(folder, firmware), server=found.server.address,
        memory=memory or trial.choose_memory(found, mac, folder.catalog()),
        facts=_known_facts(read_inventory(folder.inventory, mac)),
    )  # fmt: skip
    image = imagebuild.build_image("lab", tell)
    tell(f"{node}: {firmware}, {mac}, loader {machine.file}" + "".join(f", {k} {v}" for k, v in machine.facts.items()))
    done = trial.boot_machine(folder, machine, image, show_stages(tell), silence or usual, goal)
    say(
        json.dumps(done.timeline.to_json())
        if as_json
        else f"{show_timeline(done.timeline)}\n{node} is ready to provision"
    )


def _known_facts(inventory: Inventory | None) -> dict[str, str]:
    """UUID and serial number, as the machine itself reported them once; text from a machine is checked here."""
    import contextlib
    import uuid

    if inventory is None:
        return {}
    facts = {}
    with contextlib.suppress(ValueError):
        facts["UUID"] = str(uuid.UUID(inventory.uuid))
    serial = inventory.serial
    if serial.isascii() and serial.isprintable() and 0 < len(serial) <= 64 and not set(serial) & set(" ,="):
        facts["SERIAL"] = serial
    return facts
