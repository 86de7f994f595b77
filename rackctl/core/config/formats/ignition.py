"""Core. Butane or Ignition in, checked Ignition out, for Flatcar and Fedora CoreOS.

Butane is Ignition's JSON written as YAML in snake case with a few shorthands. butane itself is a Go program that no
distribution of this project's base packages; the shorthands that need no other file are done here, the others refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from rackctl.core.config.merge import merge
from rackctl.core.config.report import UNIT, UNIT_NAME
from rackctl.core.config.resolve import FileSpec, Machine
from rackctl.core.yamldoc import Value, to_plain
from rackctl.errors import ConfigError

VERSION = "3.3.0"  # the newest version that Flatcar and Fedora CoreOS both read
_VERSIONS = ("3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0")
_RUNCMD = """\
[Unit]
Description=runcmd of rackctl
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{lines}

[Install]
WantedBy=multi-user.target
"""
# Butane's names that are no plain snake case of Ignition's.
_NAMES = {"size_mib": "sizeMiB", "start_mib": "startMiB"}

Schema = dict[str, "Schema | list[Schema | type] | type"]
_OWNER: Schema = {"id": int, "name": str}
_RESOURCE: Schema = {
    "source": str, "compression": str, "httpHeaders": [{"name": str, "value": str}], "verification": {"hash": str},
}  # fmt: skip
_NODE: Schema = {"path": str, "overwrite": bool, "user": _OWNER, "group": _OWNER}
SCHEMA: Schema = {
    "ignition": {
        "version": str,
        "config": {"merge": [_RESOURCE], "replace": _RESOURCE},
        "timeouts": {"httpResponseHeaders": int, "httpTotal": int},
        "security": {"tls": {"certificateAuthorities": [_RESOURCE]}},
        "proxy": {"httpProxy": str, "httpsProxy": str, "noProxy": [str]},
    },
    "storage": {
        "disks": [
            {
                "device": str,
                "wipeTable": bool,
                "partitions": [
                    {"label": str, "number": int, "sizeMiB": int, "startMiB": int, "typeGuid": str, "guid": str,
                     "wipePartitionEntry": bool, "shouldExist": bool, "resize": bool}
                ],
            }
        ],
        "raid": [{"name": str, "level": str, "devices": [str], "spares": int, "options": [str]}],
        "filesystems": [
            {"device": str, "format": str, "path": str, "wipeFilesystem": bool, "label": str, "uuid": str,
             "options": [str], "mountOptions": [str]}
        ],
        "luks": [
            {"name": str, "device": str, "keyFile": _RESOURCE, "label": str, "uuid": str, "options": [str],
             "wipeVolume": bool, "clevis": dict}
        ],
        "files": [{**_NODE, "contents": _RESOURCE, "append": [_RESOURCE], "mode": int}],
        "directories": [{**_NODE, "mode": int}],
        "links": [{**_NODE, "target": str, "hard": bool}],
    },
    "systemd": {
        "units": [
            {"name": str, "enabled": bool, "mask": bool, "contents": str, "dropins": [{"name": str, "contents": str}]}
        ]
    },
    "passwd": {
        "users": [
            {"name": str, "passwordHash": str, "sshAuthorizedKeys": [str], "uid": int, "gecos": str, "homeDir": str,
             "noCreateHome": bool, "primaryGroup": str, "groups": [str], "noUserGroup": bool, "noLogInit": bool,
             "shell": str, "shouldExist": bool, "system": bool}
        ],
        "groups": [{"name": str, "gid": int, "passwordHash": str, "shouldExist": bool, "system": bool}],
    },
    "kernelArguments": {"shouldExist": [str], "shouldNotExist": [str]},
}  # fmt: skip


def translate(root: Value, file: str = "") -> dict[str, Any]:
    """Ignition data of a Butane or Ignition document. Raises ConfigError with the place of the first fault."""
    faults = list(find_faults(root))
    if faults:
        line, column, message = faults[0]
        raise ConfigError(message, f"{file or root.file}:{line}:{column}", "docs/machine-config.md tells what is known")
    data: dict[str, Any] = _translate(root)
    for name in ("variant", "version"):
        data.pop(name, None)
    data.setdefault("ignition", {}).setdefault("version", VERSION)
    return data


def find_faults(root: Value) -> Iterator[tuple[int, int, str]]:
    """Line, column and message of each thing that Ignition would refuse."""
    butane = root.get("variant") is not None
    for key, value in root.entries:
        if butane and key.text in ("variant", "version"):
            if key.text == "variant" and value.text not in ("flatcar", "fcos", "r4e", "fiot"):
                yield value.line, value.column, f"variant {value.text[:40]}: flatcar and fcos are known"
            continue
        yield from _faults(key, value, SCHEMA, key.text)
    version = root.get("ignition", "version")
    if not butane and (version is None or version.text not in _VERSIONS):
        place = version or root
        shown = f"{version.text[:20]} is" if version else "ignition.version is missing:"
        yield place.line, place.column, f"{shown} none of {', '.join(_VERSIONS)}"


def _faults(key: Value, value: Value, known: Any, path: str) -> Iterator[tuple[int, int, str]]:
    name = camel(key.text)
    if key.text in ("inline", "local") and "source" in known:
        if key.text == "local":
            yield key.line, key.column, f"{path}: local files are not read; write inline"
        return
    if key.text in ("trees", "with_mount_unit"):
        yield key.line, key.column, f"{path}: this shorthand of Butane is not known here; write it out"
    elif name not in known:
        yield key.line, key.column, f"{path}: Ignition does not know this key"
    else:
        yield from _type_faults(value, known[name], path)


def _type_faults(value: Value, wanted: Any, path: str) -> Iterator[tuple[int, int, str]]:
    if value.kind == "null":
        return
    if isinstance(wanted, dict):
        if value.kind != "map":
            yield value.line, value.column, f"{path} must be a map"
        for key, below in value.entries:
            yield from _faults(key, below, wanted, f"{path}.{key.text}")
    elif isinstance(wanted, list):
        if value.kind != "list":
            yield value.line, value.column, f"{path} must be a list"
        for item in value.items:
            yield from _type_faults(item, wanted[0], path)
    else:
        kind = {str: ("str",), int: ("int",), bool: ("bool",), dict: ("map",)}[wanted]
        if value.kind not in kind:
            yield value.line, value.column, f"{path} must be a {kind[0]}, not a {value.kind}"


def camel(name: str) -> str:
    """Ignition's name of a Butane key."""
    if name in _NAMES or "_" not in name:
        return _NAMES.get(name, name)
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _translate(value: Value) -> Any:
    if value.kind == "map":
        data = {}
        for key, below in value.entries:
            if key.text == "inline":
                data["source"] = data_url(below.text.encode())
            elif below.kind != "null":
                data[camel(key.text)] = _translate(below)
        return data
    if value.kind == "list":
        return [_translate(item) for item in value.items]
    return to_plain(value)


def data_url(content: bytes) -> str:
    """RFC 2397."""
    text = quote(content)
    return (
        f"data:,{text}" if len(text) <= len(content) * 1.4 + 8 else f"data:;base64,{base64.b64encode(content).decode()}"
    )


def render_ignition(machine: Machine) -> str:
    """rackctl's own part (name, keys, files, join), then the sources of rack, groups and node."""
    content: dict[str, Any] = {"ignition": {"version": VERSION}}
    if machine.keys:
        content["passwd"] = {"users": [{"name": "core", "sshAuthorizedKeys": machine.keys}]}
    files = [_file(file) for file in machine.files()]
    if machine.hostname:
        name = data_url((machine.hostname + "\n").encode())
        files.insert(0, {"path": "/etc/hostname", "mode": 0o644, "contents": {"source": name}})
    if files:
        content["storage"] = {"files": files}
    content["systemd"] = {"units": _units(machine)}
    root: Value | None = None
    for source in machine.own:
        if source.root:
            translate(source.root, source.name)
            root = merge(root, source.root)
    if root is not None:
        content = _join(content, translate(root))
    return json.dumps(content, indent=2) + "\n"


def _join(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """other on top of one; lists append, and entries of one name or path become one."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(one.get(key), dict):
            one[key] = _join(one[key], value)
        elif isinstance(value, list) and isinstance(one.get(key), list):
            one[key] = _join_lists(one[key], value)
        else:
            one[key] = value
    return one


def _join_lists(one: list[Any], other: list[Any]) -> list[Any]:
    for item in other:
        same = next((old for old in one if _identity(old) is not None and _identity(old) == _identity(item)), None)
        if same is not None:
            _join(same, item)
        elif item not in one:
            one.append(item)
    return one


def _identity(item: Any) -> Any:
    return (item.get("path"), item.get("name")) if isinstance(item, dict) and {"path", "name"} & set(item) else None


def _file(file: FileSpec) -> dict[str, Any]:
    contents: dict[str, Any] = {"source": data_url(file.content.encode())}
    if "64" in file.encoding:
        contents["source"] = f"data:;base64,{''.join(file.content.split())}"
    if file.encoding.startswith("gz"):
        contents["compression"] = "gzip"
    made: dict[str, Any] = {
        "path": file.path,
        "mode": int(file.permissions, 8),
        "overwrite": True,
        "contents": contents,
    }
    user, _, group = file.owner.partition(":")
    made |= {"user": {"name": user}} if user and user != "root" else {}
    return made | ({"group": {"name": group}} if group and group != "root" else {})


def _units(machine: Machine) -> list[dict[str, Any]]:
    units = []
    commands = machine.commands()
    if commands:
        lines = "\n".join(_shell(command) for command in commands)
        units.append({"name": "rackctl-runcmd.service", "enabled": True, "contents": _RUNCMD.format(lines=lines)})
    if machine.join.unit:
        name, text = machine.join.unit
        units.append({"name": name, "enabled": True, "contents": text})
    return [*units, {"name": UNIT_NAME, "enabled": True, "contents": UNIT}]


def _shell(command: Any) -> str:
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
    # systemd.service(5): % and $ are its own, and a quoted word may hold blanks.
    quoted = (
        '"' + w.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"' for w in words
    )
    return "ExecStart=" + " ".join(word.replace("\n", "\\n") for word in quoted)
