"""Core. One machine's config in the form its OS reads: files below http/config/, and kernel arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rackctl.core.config.formats.apkovl import render_apkovl
from rackctl.core.config.formats.cloud import cloud_config, render_cloud_config, render_k3os
from rackctl.core.config.formats.ignition import render_ignition
from rackctl.core.config.formats.installer import render_autoinstall, render_preseed, render_talos
from rackctl.core.config.resolve import resolve_machine
from rackctl.core.config.sources import Inputs
from rackctl.core.yamldoc import Value

if TYPE_CHECKING:
    from rackctl.core.catalog import Entry
    from rackctl.core.model import Rack


@dataclass(frozen=True)
class MachineConfig:
    """files: path below http/config/ -> content, empty for an OS that gets none; words: kernel arguments.

    merged: what the cloud-config was rendered from, each value with its source; None for other kinds.
    """

    kind: str
    files: dict[str, bytes] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    merged: Value | None = None


def render_config(rack: Rack, entry: Entry, name: str | None, key: str, inputs: Inputs) -> MachineConfig:
    """name: the node, or None for machines that are not in rack.yml; key: its name in URLs. Raises ConfigError."""
    kind = entry.config.kind
    if kind in ("none", "autoyast"):
        return MachineConfig(kind)
    os = rack.os_of(rack.nodes[name] if name is not None else None)
    machine = resolve_machine(rack, inputs, os.name, os.version, kind, name, key)
    if kind == "cloud-config":
        config, words = cloud_config(machine)
        return MachineConfig(kind, {key: render_cloud_config(config).encode()}, words, config)
    if kind == "autoinstall":
        files = {f"{key}/{file}": content for file, content in render_autoinstall(machine).items()}
        return MachineConfig(kind, files)
    if kind == "apkovl":
        # Alpine's init takes what does not end in .gz for an encrypted overlay.
        return MachineConfig(kind, {f"{key}.apkovl.tar.gz": render_apkovl(machine)})
    text = {"ignition": render_ignition, "preseed": render_preseed, "talos": render_talos, "k3os": render_k3os}[kind]
    content = text(machine)
    return MachineConfig(kind, {key: content.encode()} if content else {})
