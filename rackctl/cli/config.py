"""CLI. config: the final configuration of one machine, and where each line of it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say

if TYPE_CHECKING:
    from rackctl.core.config.render import MachineConfig
    from rackctl.core.model import Rack

config = typer.Typer(no_args_is_help=True, help="The configuration that a machine gets.")
app.add_typer(config, name="config")


@config.command()
def show(
    node: Annotated[str, typer.Argument(help="Name in rack.yml, MAC, or default.")] = "default",
    origin: Annotated[bool, typer.Option("--origin", help="Tell the file and line behind each line.")] = False,
    kernel: Annotated[bool, typer.Option("--kernel", help="The kernel arguments, one a line, instead.")] = False,
    rack: RackOption = Path(),
) -> None:
    """Print the file that a machine gets, as it is served; secrets included.

    Example: rackctl config show n1 --origin
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.lockfile import read_lock
    from rackctl.core.bootscript import kernel_line
    from rackctl.core.config.render import render_config
    from rackctl.core.model import hyphenate
    from rackctl.inputs import read_inputs

    folder = RackFolder(rack)
    found = folder.read_rack()
    inputs, catalog = read_inputs(folder, found, read_lock(folder.path)), folder.catalog()
    name = _find(found, node)
    machine = found.nodes[name] if name else None
    key = hyphenate(machine.mac) if machine else "default"
    entry = catalog.get(found.os_of(machine).name)
    rendered = render_config(found, entry, name, key, inputs)
    if kernel:
        say("\n".join(kernel_line(found, catalog, machine, rendered)))
    elif not rendered.files:
        say(f"{found.os_of(machine).name} gets no config ({entry.config.kind})")
    else:
        _show_files(rendered, origin)


def _find(rack: Rack, node: str) -> str | None:
    from rackctl.core.model import parse_mac
    from rackctl.errors import ConfigError

    if node == "default" or node in rack.nodes:
        return None if node == "default" else node
    try:
        mac = parse_mac(node)
    except ValueError as wrong:
        raise ConfigError(f"rack.yml has no node {node!r}", remedy="name a node, a MAC or default") from wrong
    return next((name for name, one in rack.nodes.items() if one.mac == mac), None)


def _show_files(rendered: MachineConfig, origin: bool) -> None:
    from rackctl.core.config.merge import list_origins

    for path, content in rendered.files.items():
        if len(rendered.files) > 1 or path.endswith(".gz"):
            say(f"--- {path}: {len(content)} bytes")
        if path.endswith(".gz"):
            continue
        lines = content.decode().rstrip("\n").split("\n")
        origins = list_origins(content.decode(), rendered.merged) if rendered.merged and origin else []
        width = min(max((len(line) for line in lines), default=0), 72) if origins else 0
        for number, line in enumerate(lines):
            told = origins[number] if number < len(origins) else ""
            say(f"{line:<{width}}  # {told}" if told else line)


@config.command()
def keys(rack: RackOption = Path()) -> None:
    """Fetch the keys of every github:USER of rack.yml anew and pin them in rack.lock.

    Example: rackctl config keys
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.lockfile import read_lock, write_lock
    from rackctl.inputs import pin_keys

    folder = RackFolder(rack)
    with folder.lock():
        lock = read_lock(folder.path)
        fresh = pin_keys(folder.read_rack(), lock, say, update=True)
        for name, lines in fresh.ssh_keys.items():
            for line in lines:
                if line not in lock.ssh_keys.get(name, ()):
                    say(f"  new: {line}")
            for line in lock.ssh_keys.get(name, ()):
                if line not in lines:
                    say(f"  gone: {line}")
        write_lock(folder.path, fresh)
