"""Core. YAML text in, Rack out; every fault at once, each with its line and column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from rackctl.core.catalog import Catalog
from rackctl.core.dhcp.faults import find_faults
from rackctl.core.fault import describe_fault, place
from rackctl.core.model import OsRef, Rack
from rackctl.errors import ConfigError

# Aliases let a small file stand for an endless one; a rack of a thousand nodes has some ten thousand values.
_MOST_VALUES = 1_000_000


def parse_rack(text: str, name: str = "rack.yml", catalog: Catalog | None = None) -> Rack:
    """Raises ConfigError that names file:line:column of every fault and what to write instead.

    catalog: the OSes that can be named (default: those of the package).
    """
    tree = _parse_yaml(text, name)
    if not isinstance(tree, dict):
        raise ConfigError("the file is not a map of keys", where=name, remedy="rackctl init writes one to start from")
    try:
        rack = Rack.model_validate(_to_plain(tree, name), context={"catalog": catalog})
    except ValidationError as wrong:
        raise _config_error([describe_fault(Rack, tree, error, name) for error in wrong.errors()]) from wrong
    found = find_faults(rack)
    if found:
        raise _config_error([(place(tree, path, name), message) for path, message in found])
    return rack


def _config_error(faults: list[tuple[str, str]]) -> ConfigError:
    head, *rest = faults
    message = head[1] + "".join(f"\n{where}: {what}" for where, what in rest)
    return ConfigError(message, where=head[0], remedy="mend the lines above, then run the same command again")


def parse_os(name: str, version: str, catalog: Catalog, arch: str = "amd64") -> OsRef:
    """An OS as it is named on the command line; without a version the catalogue's default. Raises ConfigError."""
    wanted = {"name": name, "version": version or catalog.get(name).default, "arch": arch}
    try:
        return OsRef.model_validate(wanted, context={"catalog": catalog})
    except ValidationError as wrong:
        message = str(wrong.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ConfigError(
            message, where=f"{name} {version}".strip(), remedy="rackctl os list, rackctl os show NAME"
        ) from wrong


def _parse_yaml(text: str, name: str) -> Any:
    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(
            f"YAML: {wrong.problem}", where=where, remedy="look at the indentation and quotes there; no tabs"
        ) from wrong
    except ReaderError as wrong:
        before = text[: wrong.position].split("\n")
        raise ConfigError(
            f"YAML: the character {text[wrong.position : wrong.position + 1]!r} may not stand in a YAML file",
            where=f"{name}:{len(before)}:{len(before[-1]) + 1}",
            remedy="remove it; save the file as plain UTF-8 text",
        ) from wrong
    except (YAMLError, ValueError, RecursionError) as wrong:
        raise ConfigError(f"YAML: {wrong}", where=name, remedy="save the file as plain UTF-8 text") from wrong


def _to_plain(tree: dict[Any, Any], name: str) -> dict[str, Any]:
    """Python's own maps and lists. A section with nothing in it, like `nodes:` alone, counts as not there."""
    left = _MOST_VALUES

    def plain(value: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise RecursionError(f"its aliases stand for more than {_MOST_VALUES} values")
        if isinstance(value, dict):
            return renamed(value, value.items())
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value

    def renamed(marked: Any, items: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in items:
            if str(key) in found:
                raise ConfigError(
                    f"the key {key} is there twice: YAML tells {key} from '{key}', rackctl does not",
                    where=place(marked, [key], name),
                    remedy="rename one of the two, or remove it",
                )
            found[str(key)] = plain(item)
        return found

    try:
        return renamed(tree, [(key, value) for key, value in tree.items() if value is not None])
    except RecursionError as wrong:
        raise ConfigError(f"YAML: {wrong}", where=name, remedy="write the values out, without * and &") from wrong


def find_line(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line, from 1, of a key of a good rack.yml; None where the file does not have it and the default holds."""
    tree = _parse_yaml(text, "rack.yml")
    for part in path[:-1]:
        tree = tree.get(part) if isinstance(tree, dict) else None
    marks = getattr(tree, "lc", None)
    try:
        mark = marks.item(path[-1]) if isinstance(tree, list) else marks.key(path[-1])  # type: ignore[union-attr]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    return int(mark[0]) + 1
