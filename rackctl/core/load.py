"""Core. YAML text in, Rack out; every fault at once, each with its line and column."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rackctl.core.catalog import Catalog
from rackctl.core.dhcp.faults import find_faults
from rackctl.core.dhcp.settings import DhcpSettings
from rackctl.core.macmodel import MacSettings
from rackctl.core.model import Node, OsRef, Rack, Server
from rackctl.core.model_bmc import Bmc
from rackctl.errors import ConfigError

_MODELS: dict[str, type[BaseModel]] = {
    "server": Server,
    "os": OsRef,
    "mac": MacSettings,
    "dhcp": DhcpSettings,
    "bmc": Bmc,
    "nodes": Node,
}


def parse_rack(text: str, name: str = "rack.yml", catalog: Catalog | None = None) -> Rack:
    """Raises ConfigError that names file:line:column of every fault and what to write instead.

    catalog: the OSes that can be named (default: those of the package).
    """
    tree = _parse_yaml(text, name)
    if not isinstance(tree, dict):
        raise ConfigError("the file is not a map of keys", where=name, remedy="rackctl init writes one to start from")
    try:
        rack = Rack.model_validate(_plain(tree), context={"catalog": catalog})
    except ValidationError as wrong:
        raise _config_error([_fault(tree, error, name) for error in wrong.errors()]) from wrong
    found = find_faults(rack)
    if found:
        raise _config_error([(_where(tree, path, name), message) for path, message in found])
    return rack


def _config_error(faults: list[tuple[str, str]]) -> ConfigError:
    head, *rest = faults
    message = head[1] + "".join(f"\n{where}: {what}" for where, what in rest)
    return ConfigError(message, where=head[0], remedy="mend the lines above, then run the same command again")


def parse_os(name: str, version: str, catalog: Catalog) -> OsRef:
    """An OS as it is named on the command line; without a version the catalogue's default. Raises ConfigError."""
    wanted = {"name": name, "version": version or catalog.get(name).default}
    try:
        return OsRef.model_validate(wanted, context={"catalog": catalog})
    except ValidationError as wrong:
        message = str(wrong.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ConfigError(message, where=f"{name} {version}", remedy="rackctl os list, rackctl os show NAME") from wrong


def _parse_yaml(text: str, name: str) -> Any:
    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(
            f"YAML: {wrong.problem}", where=where, remedy="look at the indentation and quotes there"
        ) from wrong
    except (YAMLError, ValueError, RecursionError) as wrong:
        raise ConfigError(f"YAML: {wrong}", where=name, remedy="save the file as plain UTF-8 text") from wrong


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _fault(tree: Any, error: Any, name: str) -> tuple[str, str]:
    path = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"unknown key {path[-1]!r}{_suggest(path)}"
    elif error["type"] == "missing":
        message = f"{'.'.join(map(str, path))} is missing"
    else:
        message = f"{'.'.join(map(str, path))}: {message}" if path else message
    return _where(tree, path, name), message


def _where(tree: Any, path: tuple[Any, ...], name: str) -> str:
    line, column = _position(tree, path)
    return f"{name}:{line}:{column}"


def _suggest(path: tuple[Any, ...]) -> str:
    model = (
        Rack if len(path) == 1 else _MODELS.get(next((p for p in ("os", "bmc") if p in path[:-1]), str(path[0])), Rack)
    )
    near = difflib.get_close_matches(str(path[-1]), list(model.model_fields), n=1, cutoff=0.5)
    known = ", ".join(model.model_fields)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {known}"


def _position(tree: Any, path: tuple[Any, ...]) -> tuple[int, int]:
    """Line and column, from 1, of the deepest part of path that the file has."""
    line, column = 1, 1
    for part in path:
        marks = getattr(tree, "lc", None)
        if marks is None:
            break
        try:
            found = marks.item(part) if isinstance(tree, list) else marks.key(part)
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
        line, column = found[0] + 1, found[1] + 1
    return line, column
