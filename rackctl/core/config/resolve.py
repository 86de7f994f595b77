"""Core. One machine's configuration, decided: its name, keys, files and commands, before any system's form."""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rackctl.core.config.hostname import PATH as HOSTNAME_SCRIPT
from rackctl.core.config.hostname import render_hostname_script
from rackctl.core.config.join import JoinPlan, plan_join
from rackctl.core.config.merge import fill_secrets, merge
from rackctl.core.config.report import BACKGROUND, can_report, render_report
from rackctl.core.config.report import PATH as REPORT_SCRIPT
from rackctl.core.config.sources import RACK_FILE, Context, Inputs, Source, read_source
from rackctl.core.configmodel import Join
from rackctl.core.yamldoc import Value, make_value, to_plain
from rackctl.errors import ConfigError

if TYPE_CHECKING:
    from rackctl.core.model import Node, Rack

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class FileSpec:
    """A file to write. container: RancherOS' own way to say where; encoding as in write_files."""

    path: str
    content: str
    permissions: str = "0644"
    encoding: str = ""
    owner: str = ""


@dataclass(frozen=True)
class Machine:
    """What is to be rendered. name, node and hostname: None for the machines that are not in rack.yml.

    config: the merged cloud-config (hostname, keys, write_files, runcmd, rancher...); own: the sources of other kinds.
    report: the script that checks in, which is in write_files too; empty where the system cannot run it.
    """

    rack: Rack
    name: str | None
    node: Node | None
    os: str
    version: str
    kind: str
    key: str
    hostname: str | None
    config: Value
    own: tuple[Source, ...]
    join: JoinPlan
    report: str

    @property
    def may_wipe(self) -> bool:
        """Whether its disks may be written over unasked."""
        return bool(self.node and self.node.wipe_disks)

    @property
    def keys(self) -> list[str]:
        """SSH public keys."""
        found = self.config.get("ssh_authorized_keys")
        return [item.text for item in found.items] if found else []

    def files(self) -> list[FileSpec]:
        """write_files, for a system that has no such thing. Raises ConfigError for an entry that cannot be written."""
        found = self.config.get("write_files")
        files = []
        for item in found.items if found else []:
            data = to_plain(item)
            if not isinstance(data, dict) or not isinstance(data.get("path"), str):
                raise ConfigError("write_files: a path is missing", f"{item.file}:{item.line}", "add path: /...")
            mode = data.get("permissions", "0644")
            text = f"0{mode:o}" if isinstance(mode, int) else str(mode)
            texts = {key: str(data.get(key) or "") for key in ("content", "encoding", "owner")}
            files.append(_checked(FileSpec(data["path"], permissions=text, **texts), f"{item.file}:{item.line}"))
        return files

    def commands(self) -> list[Any]:
        """runcmd: strings for a shell, lists for exec."""
        found = self.config.get("runcmd")
        for item in found.items if found and found.kind == "list" else [found] if found else []:
            if item is found or item.kind not in ("str", "list"):
                raise ConfigError(
                    f"runcmd: a {item.kind} here is no command",
                    f"{item.file}:{item.line}",
                    "a list of strings; quote each",
                )
        return list(to_plain(found)) if found and found.kind == "list" else []


def _checked(file: FileSpec, where: str) -> FileSpec:
    if not file.path.startswith("/") or ".." in file.path.split("/"):
        raise ConfigError(f"write_files: {file.path[:60]} is no absolute path", where, "write path: /...")
    if not re.fullmatch(r"0?[0-7]{3,4}", file.permissions):
        raise ConfigError("write_files: permissions are three or four octal digits", where, "permissions: '0644'")
    try:
        content = file.content.encode()
        content = base64.b64decode("".join(file.content.split()), validate=True) if "64" in file.encoding else content
        if file.encoding.startswith("gz"):
            gzip.decompress(content)
    except (ValueError, OSError, EOFError, zlib.error) as wrong:
        raise ConfigError(f"write_files: the content is not {file.encoding}", where, "encode it anew") from wrong
    return file


def resolve_machine(
    rack: Rack, inputs: Inputs, os: str, version: str, kind: str, name: str | None, key: str
) -> Machine:
    """Merge every source that is for this machine. Raises ConfigError with the file and line of what is wrong.

    The same rack and inputs give the same object: the linter asks for what was rendered a moment ago.
    """
    known: tuple[Rack, Machine] | None = inputs.made.get(("machine", name))
    if known is None or known[0] is not rack:
        known = inputs.made[("machine", name)] = (rack, _resolve(rack, inputs, os, version, kind, name, key))
    return known[1]


def _resolve(rack: Rack, inputs: Inputs, os: str, version: str, kind: str, name: str | None, key: str) -> Machine:
    node = rack.nodes[name] if name is not None else None
    hostname = (node.hostname or name) if node else None
    context = Context(rack, name, node, hostname)
    merged = _start(rack, inputs, hostname, name)
    own: list[Source] = []
    for item, path in source_items(rack, name, node):
        source = read_source(inputs, item, path, context)
        if source.kind == "cloud-config":
            if source.root is not None:
                merged = merge(merged, _filled(source.root, inputs, node))
        elif source.kind == kind:
            own.append(replace(source, root=_filled(source.root, inputs, node)) if source.root else source)
    chosen = merged.get("hostname")
    hostname = chosen.text if chosen else hostname
    merged = merge(merged, _naming(rack, os, kind, hostname, inputs))
    plan = _join(rack, inputs, name, node, hostname, os, kind)
    place = _join_place(rack, name, node)
    for file in plan.files:
        entry = {"path": file.path, "permissions": f"{file.mode:04o}", "owner": "root", "content": file.content}
        merged = merge(merged, _at(inputs, place, {"write_files": [entry]}))
    if plan.services:
        merged = merge(merged, _at(inputs, place, {"rancher": {"services": plan.services}}))
    joins = join_of(rack, node) if node and plan != JoinPlan() else Join()
    report = render_report(rack, node.mac if node else "", os, joins) if can_report(os, kind) else ""
    merged = _reporting(merged, report, kind)
    return Machine(rack, name, node, os, version, kind, key, hostname, merged, tuple(own), plan, report)


def source_items(rack: Rack, name: str | None, node: Node | None) -> Iterator[tuple[str | dict[str, Any], Path]]:
    """Each source of a machine, and where rack.yml names it."""
    yield from ((item, ("config", n)) for n, item in enumerate(rack.config))
    for group in node.groups if node else ():
        items = rack.groups[group].config if group in rack.groups else ()
        yield from ((item, ("groups", group, "config", n)) for n, item in enumerate(items))
    if node and name:
        yield from ((item, ("nodes", name, "config", n)) for n, item in enumerate(node.config))


def _at(inputs: Inputs, path: tuple[str, ...], data: Any) -> Value:
    """Data that rack.yml gave rise to, at its line there."""
    found = inputs.rack_value(*path)
    return make_value(data, RACK_FILE if found else "rackctl", found.line if found else 0)


def _start(rack: Rack, inputs: Inputs, hostname: str | None, name: str | None) -> Value:
    keys = []
    listed = inputs.rack_value("ssh_authorized_keys")
    for number, key in enumerate(rack.ssh_authorized_keys):
        line = listed.items[number].line if listed and number < len(listed.items) else 0
        own = key.endswith(".pub")
        for count, one in enumerate(_key_lines(key, inputs), 1):
            keys.append(make_value(one, key if own else RACK_FILE, count if own else line))
    start = make_value({}, RACK_FILE, 0)
    if hostname and name:
        start = merge(start, _at(inputs, ("nodes", name), {"hostname": hostname}))
    if keys:
        place = replace(make_value("ssh_authorized_keys", RACK_FILE), line=keys[0].line)
        start.entries.append((place, replace(make_value([], RACK_FILE, keys[0].line), items=keys)))
    return start


def _key_lines(key: str, inputs: Inputs) -> tuple[str, ...]:
    if not key.startswith("github:") and not key.endswith(".pub"):
        return (key,)
    if key not in inputs.keys:
        remedy = (
            "rackctl up fetches and pins it" if key.startswith("github:") else "name a file below the rack's folder"
        )
        raise ConfigError(f"ssh_authorized_keys: {key} is not there", RACK_FILE, remedy)
    return inputs.keys[key]


def _filled(root: Value, inputs: Inputs, node: Node | None) -> Value:
    def secret(name: str, where: str) -> str:
        if node is None:
            raise ConfigError(
                f"!secret {name} would reach every machine", where, "put it into the config of a group or a node"
            )
        return inputs.secret(name, where)

    return fill_secrets(root, secret)


def _naming(rack: Rack, os: str, kind: str, hostname: str | None, inputs: Inputs) -> Value:
    """The places where a Linux reads its name beside `hostname:`. Kinds that write them themselves get nothing."""
    if kind != "cloud-config":
        return make_value({}, "rackctl", 0)
    if hostname:
        file = {"path": "/etc/hostname", "permissions": "0644", "owner": "root", "content": hostname + "\n"}
        return make_value({"write_files": [file]}, "rackctl", 0)
    script = render_hostname_script(rack.hostnames)
    if not script:
        return make_value({}, "rackctl", 0)
    file = {"path": HOSTNAME_SCRIPT, "permissions": "0755", "owner": "root", "content": script}
    return _at(inputs, ("hostnames",), {"write_files": [file], "runcmd": [HOSTNAME_SCRIPT]})


def _reporting(merged: Value, report: str, kind: str) -> Value:
    """The script that checks in, and what runs it where no unit does; autoinstall has a place of its own for both."""
    if not report or kind == "autoinstall":
        return merged
    file = {"path": REPORT_SCRIPT, "permissions": "0755", "owner": "root", "content": report}
    written, commands = merged.get("write_files"), merged.get("runcmd")
    if written is None or written.kind == "list":
        merged = merge(merged, make_value({"write_files": [file]}, "rackctl", 0))
    if kind in ("cloud-config", "k3os") and (commands is None or commands.kind == "list"):
        # First, and in the background: a command that fails ends RancherOS' list.
        merged = merge(make_value({"runcmd": [BACKGROUND]}, "rackctl", 0), merged)
    return merged


def join_of(rack: Rack, node: Node) -> Join:
    """The node's own, else its last group's that has one, else the rack's."""
    groups = [rack.groups[name].join for name in reversed(node.groups) if name in rack.groups]
    return next((one for one in (node.join, *groups) if one is not None), rack.join)


def _join_place(rack: Rack, name: str | None, node: Node | None) -> tuple[str, ...]:
    if node and name and node.join is not None:
        return "nodes", name, "join"
    groups = [one for one in (node.groups if node else ()) if one in rack.groups and rack.groups[one].join is not None]
    return ("groups", groups[-1], "join") if groups else ("join",)


def _join(
    rack: Rack, inputs: Inputs, name: str | None, node: Node | None, hostname: str | None, os: str, kind: str
) -> JoinPlan:
    join = join_of(rack, node) if node else Join()
    if join.kind == "none" or join.token is None or node is None:
        return JoinPlan()
    where = f"{RACK_FILE}: node {name}"
    return plan_join(join, os, kind, hostname or name or "", inputs.secret(join.token, where))
