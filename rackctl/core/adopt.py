"""Core. Nodes written into rack.yml's text: its comments, order and quoting stay as they are."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError


def add_nodes(text: str, nodes: Mapping[str, str], name: str = "rack.yml") -> str:
    """The text with `nodes` (name -> MAC) at the end of its `nodes:`.

    Raises ConfigError when a name or MAC is taken or wrong, or when the text cannot be edited without changing more.
    """
    before = parse_rack(text, name)
    for node in nodes:
        if node in before.nodes:
            raise ConfigError(f"there is a node {node} already", where=name, remedy="choose another --name")
    out = _insert(text, nodes) if nodes else text
    after = parse_rack(out, name)
    if after.model_copy(update={"nodes": before.nodes}) != before or list(after.nodes) != [*before.nodes, *nodes]:
        raise ConfigError("this rack.yml cannot be edited safely", where=name, remedy="write the nodes in by hand")
    return out


def _insert(text: str, nodes: Mapping[str, str]) -> str:
    """By lines where `nodes:` is a block, so that not one byte besides changes; else by the YAML library."""
    yaml = YAML()
    tree = yaml.load(text)
    found = tree.get("nodes")
    lines = text.splitlines(keepends=True)
    if isinstance(found, CommentedMap) and found and not found.fa.flow_style():
        column = found.lc.col
        last = max(_last_line(found, key) for key in found)
        at = last + 1
        while at < len(lines) and lines[at].startswith(" " * (column + 1)) and lines[at].strip():
            at += 1
        if at and not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
        return "".join([*lines[:at], *(_line(" " * column, *node) for node in nodes.items()), *lines[at:]])
    if not found:
        start = tree.lc.key("nodes")[0] if "nodes" in tree else None
        if start is not None and lines[start].split("#")[0].replace(" ", "").strip() in ("nodes:", "nodes:{}"):
            _, mark, comment = lines[start].rstrip("\n").partition("#")
            kept = f"{'  ' if mark else ''}{mark}{comment}"
            lines[start] = f"nodes:{kept}\n"
            return "".join([*lines[: start + 1], *(_line("  ", *node) for node in nodes.items()), *lines[start + 1 :]])
        if start is None:
            end = "" if not text or text.endswith("\n") else "\n"
            return text + end + "nodes:\n" + "".join(_line("  ", *node) for node in nodes.items())
    yaml.preserve_quotes = True
    yaml.width = 4096
    for node, mac in nodes.items():
        entry = CommentedMap({"mac": DoubleQuotedScalarString(mac)})
        entry.fa.set_flow_style()
        found[node] = entry
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _line(indent: str, name: str, mac: str) -> str:
    return f'{indent}{name}: {{mac: "{mac}"}}\n'


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
            except (KeyError, IndexError, ValueError) as wrong:
                raise ConfigError(f"{pattern!r} is no pattern", remedy="like node{n} or n{n:02}") from wrong
            if name not in taken and name not in found:
                found[name] = mac
                start = number + 1
                break
        else:
            raise ConfigError(f"{pattern!r} gives the same name again", remedy="like node{n} or n{n:02}")
    return found
