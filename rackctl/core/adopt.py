"""Core. Nodes written into rack.yml's text: its comments, order and quoting stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import MappingNode

from rackctl.core.catalog import Catalog
from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError


def add_nodes(text: str, nodes: Mapping[str, str], name: str = "rack.yml", catalog: Catalog | None = None) -> str:
    """The text with `nodes` (name -> MAC) at the end of its `nodes:`. catalog: as of `parse_rack`.

    Raises ConfigError when a name or MAC is taken or wrong, or when the text cannot be edited without changing more.
    """
    before = parse_rack(text, name, catalog)
    for node in nodes:
        if node in before.nodes:
            raise ConfigError(f"there is a node {node} already", where=name, remedy="choose another --name")
    out = _insert(text, nodes) if nodes else text
    after = parse_rack(out, name, catalog)
    if after.model_copy(update={"nodes": before.nodes}) != before or list(after.nodes) != [*before.nodes, *nodes]:
        raise ConfigError("this rack.yml cannot be edited safely", where=name, remedy="write the nodes in by hand")
    return out


def _insert(text: str, nodes: Mapping[str, str]) -> str:
    """By lines where `nodes:` is a block or absent, else where the flow map ends: not one byte besides changes."""
    tree = YAML().load(text)
    found = tree.get("nodes")
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if isinstance(found, CommentedMap) and found and not found.fa.flow_style():
        column = found.lc.col
        last = max(_last_line(found, key) for key in found)
        at = last + 1
        while at < len(lines) and lines[at].startswith(" " * (column + 1)) and lines[at].strip():
            at += 1
        if at and not lines[at - 1].endswith("\n"):
            lines[at - 1] += end
        return "".join([*lines[:at], *(_line(" " * column, *node, end) for node in nodes.items()), *lines[at:]])
    if not found:
        start = tree.lc.key("nodes")[0] if "nodes" in tree else None
        if start is not None and lines[start].split("#")[0].replace(" ", "").strip() in ("nodes:", "nodes:{}"):
            _, mark, comment = lines[start].rstrip("\r\n").partition("#")
            kept = f"{'  ' if mark else ''}{mark}{comment}"
            lines[start] = f"nodes:{kept}{end}"
            added = [_line("  ", *node, end) for node in nodes.items()]
            return "".join([*lines[: start + 1], *added, *lines[start + 1 :]])
        if start is None:
            gap = "" if not text or text.endswith("\n") else end
            return text + gap + f"nodes:{end}" + "".join(_line("  ", *node, end) for node in nodes.items())
    return _insert_flow(text, nodes)


def _insert_flow(text: str, nodes: Mapping[str, str]) -> str:
    """After the last node of `nodes: {...}`, or in place of what stands there for none."""
    added = ", ".join(_line("", *node, "") for node in nodes.items())
    value = next(value for key, value in YAML().compose(text).value if key.value == "nodes")
    if isinstance(value, MappingNode) and value.value:
        at = value.value[-1][1].end_mark.index
        return f"{text[:at]}, {added}{text[at:]}"
    return f"{text[: value.start_mark.index]}{{{added}}}{text[value.end_mark.index :]}"


def _line(indent: str, name: str, mac: str, end: str) -> str:
    return f'{indent}{name}: {{mac: "{mac}"}}{end}'


def _last_line(found: CommentedMap, key: object) -> int:
    """The last line on which a value of the map begins, however deep."""
    last = int(found.lc.key(key)[0])
    value = found[key]
    if isinstance(value, CommentedMap):
        return max([last, *(_last_line(value, inner) for inner in value)])
    return last


def name_nodes(macs: Iterable[str], pattern: str, taken: Collection[str]) -> dict[str, str]:
    """Name -> MAC by a pattern with one `{n}` (or `{n:02}`), numbered from 1, names that are taken left out.

    Raises ConfigError when the pattern gives no different names.
    """
    found: dict[str, str] = {}
    start = 1
    for mac in macs:
        for number in range(start, start + len(taken) + len(found) + 2):
            try:
                name = pattern.format(n=number)
            except (KeyError, IndexError, ValueError, AttributeError, TypeError) as wrong:
                raise ConfigError(f"{pattern!r} is no pattern", remedy="like node{n} or n{n:02}") from wrong
            if name not in taken and name not in found:
                found[name] = mac
                start = number + 1
                break
        else:
            raise ConfigError(f"{pattern!r} gives the same name again", remedy="like node{n} or n{n:02}")
    return found
