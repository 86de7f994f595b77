"""Core. Rules RK0xx: what is wrong between the nodes of a rack, or between rack.yml and its config sources."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rackctl.core.catalog import Catalog
from rackctl.core.config.resolve import Machine, join_of, resolve_machine
from rackctl.core.config.sources import RACK_FILE, Inputs
from rackctl.core.dhcp.faults import rack_subnet
from rackctl.core.lint.rules import Finding, check, rule
from rackctl.core.load import parse_rack
from rackctl.core.model import Rack, hyphenate
from rackctl.core.yamldoc import Value
from rackctl.errors import ConfigError

_HEAD = "server: {address: 10.0.0.1}\nssh_authorized_keys: ['ssh-ed25519 AAAA me@here']\n"
_ROS = _HEAD + "os: {name: rancheros, version: v1.5.8}\n"
_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIE0rAHXRQx9eXTmXdPvLRdC8eGGw9ODmoLQ3ajwrzwSv"
_HEAD, _ROS = _HEAD.replace("AAAA", _KEY), _ROS.replace("AAAA", _KEY)
_STATIC = (
    _ROS + "nodes:\n  a:\n    mac: '52:54:00:00:00:01'\n    config: [{rancher: {network: {interfaces: {eth0: "
    "{address: %s}}}}}]\n  b:\n    mac: '52:54:00:00:00:02'\n    config: [{rancher: {network: {interfaces: {eth0: "
    "{address: %s}}}}}]\n"
)
_WIPE = re.compile(r"^d-i\s+partman-auto/(?:method|disk)\s", re.MULTILINE)
_WIPE_KEYS = ("wipe_table", "wipeTable", "wipe_filesystem", "wipeFilesystem")

BAD_RACK = rule(
    "RK001", "rack", "error", "rack.yml, or a source that it names, is wrong",
    why="Nothing can be rendered from it, so nothing is served.",
    bad=_HEAD + "nodes:\n  a: {mac: '52:54:00'}\n", good=_HEAD + "nodes:\n  a: {mac: '52:54:00:00:00:01'}\n",
)  # fmt: skip
SAME_NAME = rule(
    "RK002", "rack", "error", "two machines of one name",
    why="Kubernetes takes the second for the first come back, DHCP and DNS hand one's address to the other.",
    bad=_HEAD + "nodes:\n  a: {mac: '52:54:00:00:00:01'}\n  b: {mac: '52:54:00:00:00:02', hostname: a}\n",
    good=_HEAD + "nodes:\n  a: {mac: '52:54:00:00:00:01'}\n  b: {mac: '52:54:00:00:00:02', hostname: c}\n",
)  # fmt: skip
SAME_ADDRESS = rule(
    "RK003", "rack", "error", "two machines of one static address",
    why="Both answer for it: connections reach one or the other by chance.",
    bad=_STATIC % ("10.0.0.5/24", "10.0.0.5/24"), good=_STATIC % ("10.0.0.5/24", "10.0.0.6/24"),
)  # fmt: skip
FOREIGN_ADDRESS = rule(
    "RK004", "rack", "warning", "a static address outside the rack's subnet",
    why="The machine loads its system from the master and then moves to a network where the master may not be.",
    bad=_STATIC % ("192.168.7.5/24", "10.0.0.6/24"), good=_STATIC % ("10.0.0.5/24", "10.0.0.6/24"),
)  # fmt: skip
MASTERS_ADDRESS = rule(
    "RK005", "rack", "error", "a machine with the master's address",
    why="As soon as it is up, the other machines ask it for their boot files.",
    bad=_STATIC % ("10.0.0.1/24", "10.0.0.6/24"), good=_STATIC % ("10.0.0.5/24", "10.0.0.6/24"),
)  # fmt: skip
UNASKED_FORMAT = rule(
    "RK006", "rack", "error", "rancher.state.autoformat without `wipe_disks: true`",
    why="It formats the first listed disk that looks empty. rackctl leaves it out of the kernel line until the node "
    "says `wipe_disks: true`.",
    bad=_ROS + "config: [{rancher: {state: {autoformat: [/dev/sda]}}}]\nnodes:\n  a: {mac: '52:54:00:00:00:01'}\n",
    good=_ROS + "nodes:\n  a:\n    mac: '52:54:00:00:00:01'\n    wipe_disks: true\n"
    "    config: [{rancher: {state: {dev: 'LABEL=RANCHER_STATE', autoformat: [/dev/sda]}}}]\n",
)  # fmt: skip
UNASKED_INSTALL = rule(
    "RK007", "rack", "error", "an installer that writes over a disk unasked, without `wipe_disks: true`",
    why="A source partitions disks with no question (partman-auto, autoinstall storage, wipe_table), and the node does "
    "not say that its disks may be lost.",
    bad=_HEAD + "nodes:\n  a:\n    mac: '52:54:00:00:00:01'\n    os: {name: debian, version: '13'}\n"
    "    config: [d.cfg]\n=== d.cfg\nd-i partman-auto/method string regular\n",
    good=_HEAD + "nodes:\n  a:\n    mac: '52:54:00:00:00:01'\n    os: {name: debian, version: '13'}\n"
    "    config: [d.cfg]\n    wipe_disks: true\n=== d.cfg\nd-i partman-auto/method string regular\n",
)  # fmt: skip
UNKNOWN_GROUP = rule(
    "RK008", "rack", "warning", "a group that `groups:` does not have",
    why="A name that is misspelt gives the node none of the group's config.",
    bad=_HEAD + "groups: {workers: {}}\nnodes:\n  a: {mac: '52:54:00:00:00:01', groups: [worker]}\n",
    good=_HEAD + "groups: {workers: {}}\nnodes:\n  a: {mac: '52:54:00:00:00:01', groups: [workers]}\n",
)  # fmt: skip
NO_WAY_IN = rule(
    "RK009", "rack", "warning", "no SSH key and no password: nobody can log in",
    why="RancherOS and most others have no default password over SSH.",
    bad="server: {address: 10.0.0.1}\nos: {name: rancheros, version: v1.5.8}\n"
    "nodes:\n  a: {mac: '52:54:00:00:00:01'}\n",
    good=_ROS + "nodes:\n  a: {mac: '52:54:00:00:00:01'}\n",
)  # fmt: skip
PLAIN_JOIN = rule(
    "RK010", "rack", "warning", "a control plane over plain HTTP",
    why="The join token crosses the network readable, and agents check the server by its certificate.",
    bad=_HEAD + "join: {kind: k3s, server: 'http://10.0.0.1', token: t}\nnodes:\n  a: {mac: '52:54:00:00:00:01'}\n"
    "=== secrets/t\nx\n",
    good=_HEAD + "join: {kind: k3s, server: 'https://10.0.0.1', token: t}\nnodes:\n  a: {mac: '52:54:00:00:00:01'}\n"
    "=== secrets/t\nx\n",
)  # fmt: skip


@dataclass(frozen=True)
class RackDoc:
    """A rack with what stands beside it, and every machine resolved; faults: what could not be."""

    rack: Rack | None
    inputs: Inputs
    machines: tuple[Machine, ...]
    faults: tuple[tuple[str, str], ...]

    def place(self, *path: str) -> tuple[int, int]:
        """Line and column of the deepest part of a path that rack.yml has."""
        for count in range(len(path), 0, -1):
            above = self.inputs.rack_value(*path[: count - 1]) if count > 1 else self.inputs.rack_value()
            for key, _ in above.entries if above else ():
                if key.text == path[count - 1]:
                    return key.line, key.column
        return 1, 1


def read_rack_text(text: str) -> RackDoc:
    """rack.yml, then `=== path` lines with the text of each file beside it (secrets/NAME for a secret)."""
    main, *parts = re.split(r"^=== (\S+)\n", text, flags=re.MULTILINE)
    beside = dict(zip(parts[::2], parts[1::2], strict=True))
    secrets = {path.removeprefix("secrets/"): body for path, body in beside.items() if path.startswith("secrets/")}
    return resolve_rack(main, Inputs(beside, secrets, {}, main), Catalog())


def resolve_rack(text: str, inputs: Inputs, catalog: Catalog, rack: Rack | None = None) -> RackDoc:
    """Parse and merge as far as it goes; faults are kept for the rules to tell. rack: parsed already."""
    try:
        rack = rack or parse_rack(text, RACK_FILE, catalog)
    except ConfigError as wrong:
        return RackDoc(None, inputs, (), tuple(_faults(wrong)))
    machines, faults = [], []
    for name, node in [(None, None), *rack.nodes.items()]:
        key = hyphenate(node.mac) if node else "default"
        try:
            os = rack.os_of(node)
            kind = catalog.get(os.name).config.kind
            if kind not in ("none", "autoyast"):
                machines.append(resolve_machine(rack, inputs, os.name, os.version, kind, name, key))
        except ConfigError as wrong:
            faults += [fault for fault in _faults(wrong) if fault not in faults]
    return RackDoc(rack, inputs, tuple(machines), tuple(faults))


def _faults(wrong: ConfigError) -> Iterator[tuple[str, str]]:
    """A ConfigError's first line is at its own place, the others carry theirs."""
    head, *rest = wrong.message.split("\n")
    yield wrong.where, head
    for line in rest:
        where, _, message = line.partition(": ")
        yield where, message


@check("rack")
def check_faults(doc: RackDoc) -> Iterator[Finding]:
    """What could not be read or merged at all."""
    for where, message in doc.faults:
        found = re.fullmatch(r"(.*?):(\d+)(?::(\d+))?", where)
        file, line, column = (found[1], found[2], found[3] or "1") if found else (where.split(":")[0], "1", "1")
        yield replace(BAD_RACK.at(int(line), int(column), message), file=file or RACK_FILE)


@check("rack")
def check_names(doc: RackDoc) -> Iterator[Finding]:
    """Host names, those of the MAC table too."""
    seen: dict[str, str] = {}
    table = doc.rack.hostnames.table if doc.rack else {}
    named = [(one.hostname, ("nodes", one.name)) for one in doc.machines if one.hostname and one.name]
    for name, path in [*named, *((name, ("hostnames", "table", mac)) for mac, name in table.items())]:
        if name in seen:
            yield SAME_NAME.at(*doc.place(*path), f"{path[-1]} is called {name}, as {seen[name]} is")
        seen.setdefault(name, path[-1])


@check("rack")
def check_addresses(doc: RackDoc) -> Iterator[Finding]:
    """Static addresses of interfaces."""
    if doc.rack is None:
        return
    seen: dict[str, str] = {}
    subnet, master = rack_subnet(doc.rack), doc.rack.server.address
    for machine in doc.machines:
        for address in _static(machine):
            host = address.text.partition("/")[0]
            try:
                found = ipaddress.ip_address(host)
            except ValueError:
                continue
            owner = machine.name or "every unknown machine"
            if host == master:
                yield _here(MASTERS_ADDRESS.at(address.line, address.column, f"{host} is the master's"), address)
            elif host in seen and seen[host] != owner:
                told = f"{owner} has {host}, as {seen[host]} has"
                yield _here(SAME_ADDRESS.at(address.line, address.column, told), address)
            elif found.version == 4 and found not in subnet and not found.is_loopback and host not in seen:
                told = f"{owner}: {host} is not in the rack's subnet {subnet}"
                yield _here(FOREIGN_ADDRESS.at(address.line, address.column, told), address)
            seen.setdefault(host, owner)


def _here(one: Finding, value: Value) -> Finding:
    return replace(one, file=value.file or RACK_FILE)


def _static(machine: Machine) -> Iterator[Value]:
    interfaces = machine.config.get("rancher", "network", "interfaces")
    for _, card in interfaces.entries if interfaces else ():
        one, more = card.get("address"), card.get("addresses")
        yield from (value for value in [one, *(more.items if more else [])] if value and value.scalar)


@check("rack")
def check_disks(doc: RackDoc) -> Iterator[Finding]:
    """Nothing writes over a disk unless the node says so."""
    for machine in doc.machines:
        if machine.may_wipe:
            continue
        name = machine.name or "machines that are not in rack.yml"
        formats = machine.config.get("rancher", "state", "autoformat") if machine.os == "rancheros" else None
        if formats:
            told = f"{name}: wipe_disks: true is missing, so it is left out"
            yield _here(UNASKED_FORMAT.at(formats.line, formats.column, told), formats)
        for source in machine.own:
            line = _wiping_line(source.text, source.root)
            if line:
                told = f"{name}: this writes over a disk, and wipe_disks: true is missing"
                yield replace(UNASKED_INSTALL.at(line, 1, told), file=source.name)


def _wiping_line(text: str, root: Value | None) -> int:
    if root is None:
        match = _WIPE.search(text)
        return text.count("\n", 0, match.start()) + 1 if match else 0
    storage = root.get("autoinstall", "storage")
    asked = root.get("autoinstall", "interactive-sections")
    if storage and not (asked and any(item.text in ("storage", "*") for item in asked.items)):
        return storage.line
    for value in root.walk():
        for key, below in value.entries:
            if key.text in _WIPE_KEYS and below.text == "true":
                return key.line
    return 0


@check("rack")
def check_groups(doc: RackDoc) -> Iterator[Finding]:
    """Groups are free names until `groups:` lists them."""
    for name, node in doc.rack.nodes.items() if doc.rack and doc.rack.groups else ():
        for group in node.groups:
            if doc.rack and group not in doc.rack.groups:
                told = f"{name}: groups has no {group}; known are {', '.join(doc.rack.groups)}"
                yield UNKNOWN_GROUP.at(*doc.place("nodes", name, "groups"), told)


@check("rack")
def check_access(doc: RackDoc) -> Iterator[Finding]:
    """A key or a password; plain HTTP to a control plane."""
    locked = [one.name for one in doc.machines if one.name and one.os == "rancheros" and not _has_access(one)]
    if locked:
        yield NO_WAY_IN.at(*doc.place("nodes", locked[0]), f"no SSH key and no password on {', '.join(locked[:5])}")
    told: set[str] = set()
    for machine in doc.machines:
        join = join_of(machine.rack, machine.node) if machine.node else None
        if join and join.kind != "none" and join.server.startswith("http://") and join.server not in told:
            told.add(join.server)
            yield PLAIN_JOIN.at(*doc.place("join", "server"), f"{join.server}: use https://")


def _has_access(machine: Machine) -> bool:
    return bool(machine.keys or machine.config.get("rancher", "password"))
