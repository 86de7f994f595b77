"""What rackctl knows of a rack's machines: sees the folder, the logs and the inventories at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from rackctl.adapters.folder import RackFolder
from rackctl.adapters.inventories import read_inventory
from rackctl.core.adopt import add_nodes
from rackctl.core.diagnosis import Context
from rackctl.core.model import Rack, parse_mac
from rackctl.core.status import Known
from rackctl.core.timeline import Timeline
from rackctl.errors import ConfigError
from rackctl.follow import Follower, read_known, write_aside

PAGE = "page"  # the role of whoever writes the status page's files
_NOW = float("inf")  # nothing waits for what the other log may still bring


def find_known(folder: RackFolder, rack: Rack) -> Known:
    """What rack.yml says of its machines, and what is known of that which they are served."""
    return replace(
        read_known(folder.served / "current"),
        names={node.mac: name for name, node in rack.nodes.items()},
        unknown=rack.unknown,
        port=rack.server.http_port,
        server=rack.server.address,
    )


def follow(folder: RackFolder, rack: Rack) -> Follower:
    """A follower of the rack's logs, from their beginning."""
    return Follower(folder.work, find_known(folder, rack))


def take_status(folder: RackFolder, warn: Callable[[str], None] = lambda _line: None) -> dict[str, object]:
    """The status now. The page gets it too, as of now, when nobody keeps it live and the disk takes it."""
    rack = folder.read_rack()
    follower = follow(folder, rack)
    events = follower.read(_NOW)
    try:
        writer = None if rack.status or not folder.status.is_dir() else folder.take(PAGE)
        if writer is not None:
            with writer:
                return follower.write(time.time(), events, live=False)
    except OSError as wrong:
        warn(describe_unwritten(wrong))
    return follower.status(time.time(), live=False)


def describe_unwritten(wrong: OSError) -> str:
    """What is told where the page cannot be written: what was asked for is shown all the same."""
    return f"the status page is not brought up to date: {wrong.strerror or wrong}"


def take_timelines(folder: RackFolder) -> list[Timeline]:
    """Every boot that the logs still tell of, the earliest first."""
    follower = follow(folder, folder.read_rack())
    follower.read(_NOW)
    return follower.timelines(time.time())


def find_unknown(folder: RackFolder) -> list[str]:
    """MACs of the machines that checked in and are not in rack.yml, in the order of their first boot."""
    rack = folder.read_rack()
    follower = follow(folder, rack)
    follower.read(_NOW)
    known = {node.mac for node in rack.nodes.values()}
    up = [t.mac for t in follower.timelines(time.time()) if t.mac and t.verdict == "done" and t.mac not in known]
    return list(dict.fromkeys(up))


def resolve(rack: Rack, node: str) -> str:
    """The MAC of a node by its name, or the MAC itself. Raises ConfigError."""
    try:
        return rack.nodes[node].mac if node in rack.nodes else parse_mac(node)
    except ValueError as wrong:
        raise ConfigError(
            f"{node!r} is neither a node of rack.yml nor a MAC", remedy="rackctl nodes lists them"
        ) from wrong


def write_nodes(folder: RackFolder, nodes: Mapping[str, str]) -> None:
    """Add nodes (name -> MAC) to rack.yml; written aside and renamed. Raises ConfigError."""
    file = folder.path / "rack.yml"
    with folder.lock():
        text = file.read_bytes().decode()
        write_aside(file.resolve(), add_nodes(text, nodes, str(file), folder.catalog()).encode(), like=file.stat())


def find_context(folder: RackFolder, rack: Rack, mac: str) -> Context:
    """What a diagnosis of this machine may know beyond the logs."""
    inventory = read_inventory(folder.inventory, mac)
    return replace(find_known(folder, rack), inventories={mac: inventory} if inventory else {}).context(mac)
