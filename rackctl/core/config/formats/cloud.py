"""Core. cloud-config, for RancherOS, k3OS and the discovery OS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rackctl.core.config.hostname import PATH as HOSTNAME_SCRIPT
from rackctl.core.config.kernelwords import move_early, without
from rackctl.core.config.resolve import Machine
from rackctl.core.yamldoc import Value, dump_yaml, to_plain

HEADER = "#cloud-config\n"
_ORDER = ("hostname", "ssh_authorized_keys", "rancher", "k3os", "write_files", "mounts", "runcmd", "bootcmd", "run_cmd")


def cloud_config(machine: Machine) -> tuple[Value, tuple[str, ...]]:
    """The final config, each value with its source, and the kernel arguments it gives rise to."""
    config = machine.config
    words: tuple[str, ...] = ()
    if machine.os == "rancheros":
        config, words = move_early(config, machine.version, machine.may_wipe)
    else:
        config = without(config, "rancher")
    if machine.os == "discovery":
        config = _own_commands(config)
    if machine.os != "k3os":
        config = without(config, "k3os")
    rank = {name: number for number, name in enumerate(_ORDER)}
    entries = sorted(config.entries, key=lambda entry: rank.get(entry[0].text, len(rank)))
    return _prune(replace(config, entries=entries)), words


def _own_commands(config: Value) -> Value:
    """The discovery OS touches no disk, so it runs none of the commands that were written for another system."""
    entries = []
    for key, value in config.entries:
        if key.text == "runcmd":
            value = replace(value, items=[item for item in value.items if item.text == HOSTNAME_SCRIPT])
        if key.text != "runcmd" or value.items:
            entries.append((key, value))
    return replace(config, entries=entries)


def _prune(value: Value) -> Value:
    """Without maps that have nothing in them: what is left when `~` took the last key away."""
    kept = [(key, _prune(below)) for key, below in value.entries]
    kept = [(key, below) for key, below in kept if below.kind != "map" or below.entries]
    return replace(value, entries=kept) if value.kind == "map" else value


def render_cloud_config(config: Value) -> str:
    """RancherOS reads nothing of a file whose very first line is not `#cloud-config`, nor one that is empty."""
    data: Any = to_plain(config)
    return HEADER + dump_yaml(data or {"ssh_authorized_keys": []})


def render_k3os(machine: Machine) -> str:
    """k3OS reads the same keys under other names (github.com/rancher/k3os, config.yaml)."""
    config, _ = cloud_config(machine)
    data: dict[str, Any] = to_plain(config)
    if "runcmd" in data:
        data["run_cmd"] = [" ".join(c) if isinstance(c, list) else c for c in data.pop("runcmd")]
    if machine.join.k3os:
        data["k3os"] = {**data.get("k3os", {}), **machine.join.k3os}
    return HEADER + dump_yaml(data or {"ssh_authorized_keys": []})
