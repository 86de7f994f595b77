"""Core. Merging config sources: maps merge, lists append, the later scalar wins; each value keeps its file and line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rackctl.core.yamldoc import Value, parse_yaml, to_plain
from rackctl.errors import ConfigError

_REPLACE = "!replace"
_SECRET = "!secret"  # noqa: S105 a tag


def merge(base: Value | None, over: Value, path: str = "") -> Value:
    """base with over on top.

    A map merges key by key. A list is appended to, without what is in it already; of two write_files with one path the
    later stands. A scalar replaces. `~` takes a key away; `!replace` on a list or map puts it in place of the earlier
    one. Raises ConfigError where a list meets a map.
    """
    if base is None or over.tag == _REPLACE or (base.scalar and over.scalar):
        return _settled(over)
    if base.kind == "map" and over.kind == "map":
        return _merge_maps(base, over, path)
    if base.kind == "list" and over.kind == "list":
        return _merge_lists(base, over, path)
    where = f"{over.file}:{over.line}:{over.column}"
    kinds = [value.kind if not value.scalar else "single value" for value in (base, over)]
    raise ConfigError(
        f"{path} is a {kinds[1]} here and a {kinds[0]} in {base.file}:{base.line}", where, "make them the same kind"
    )


def _settled(value: Value) -> Value:
    """A value without what `~` takes away; shared, not copied, where nothing changes."""
    tag = "" if value.tag == _REPLACE else value.tag
    if value.kind == "map":
        kept = [(key, _settled(below)) for key, below in _last(value) if below.kind != "null"]
        same = len(kept) == len(value.entries) and all(
            new is old for (_, new), (_, old) in zip(kept, value.entries, strict=True)
        )
        return value if same and tag == value.tag else replace(value, entries=kept, tag=tag)
    return replace(value, tag=tag) if tag != value.tag else value


def _last(value: Value) -> list[tuple[Value, Value]]:
    """The entries with the last of doubled keys, at the place of the first, and those that `<<:` brings in."""
    entries = value.entries
    if any(key.text == "<<" and key.plain for key, _ in entries):
        entries = [*_brought(value), *(entry for entry in entries if entry[0].text != "<<")]
    return list({key.text: (key, below) for key, below in entries}.values())


def _brought(value: Value) -> list[tuple[Value, Value]]:
    """YAML's merge key (yaml.org/type/merge): a map or a list of maps, of which the earlier counts; own keys win."""
    found = []
    for key, below in value.entries:
        if key.text == "<<" and key.plain:
            for source in reversed(below.items or [below]):
                found += _last(source)
    return found


def _merge_maps(base: Value, over: Value, path: str) -> Value:
    entries = {key.text: (key, value) for key, value in base.entries}
    for key, value in _last(over):
        if value.kind == "null":
            entries.pop(key.text, None)
        elif key.text in entries:
            first, below = entries[key.text]
            merged = merge(below, value, f"{path}.{key.text}" if path else key.text)
            entries[key.text] = (key if merged.scalar else first, merged)
        else:
            entries[key.text] = (key, _settled(value))
    return replace(base, entries=list(entries.values()))


def _merge_lists(base: Value, over: Value, path: str) -> Value:
    items = list(base.items)
    for item in over.items:
        item = _settled(item)
        if path == "write_files":
            items = [one for one in items if _target(one) != _target(item)]
        if not any(_same(one, item) for one in items):
            items.append(item)
    return replace(base, items=items)


def _target(item: Value) -> tuple[str, str] | int:
    path, container = item.get("path"), item.get("container")
    return (path.text, container.text if container else "console") if path else id(item)


def _same(one: Value, other: Value) -> bool:
    if one.kind != other.kind or one.text != other.text:
        return False
    return one is other or to_plain(one) == to_plain(other)


def fill_secrets(value: Value, secret: Callable[[str, str], str]) -> Value:
    """`!secret name` replaced by the secret's text. secret: name and place -> text."""
    if value.tag == _SECRET:
        return replace(value, kind="str", text=secret(value.text, f"{value.file}:{value.line}"), tag="", plain=False)
    if value.kind == "map":
        entries = [(key, fill_secrets(below, secret)) for key, below in value.entries]
        changed = any(new is not old for (_, new), (_, old) in zip(entries, value.entries, strict=True))
        return replace(value, entries=entries) if changed else value
    if value.kind == "list":
        items = [fill_secrets(item, secret) for item in value.items]
        return replace(value, items=items) if any(map(lambda a, b: a is not b, items, value.items)) else value
    return value


def list_origins(text: str, merged: Value) -> list[str]:
    """For each line of a rendered YAML text, `file:line` of what gave it; empty where rackctl alone did."""
    lines = text.split("\n")
    origins = [""] * len(lines)
    rendered, _ = parse_yaml(text)
    if rendered is not None:
        _mark(rendered, merged, origins)
    return origins


def _mark(rendered: Value, merged: Value, origins: list[str]) -> None:
    for (key, below), (key2, below2) in zip(rendered.entries, merged.entries, strict=False):
        origins[key.line - 1] = _place(key2 if below2.scalar or not origins[key.line - 1] else below2)
        if below.scalar:
            for line in range(below.line - 1, max(below.line, below.end_line - 1)):
                origins[line] = _place(below2)
        _mark(below, below2, origins)
    for item, item2 in zip(rendered.items, merged.items, strict=False):
        origins[item.line - 1] = _place(item2)
        if item.scalar:
            for line in range(item.line - 1, max(item.line, item.end_line - 1)):
                origins[line] = _place(item2)
        _mark(item, item2, origins)


def _place(value: Value) -> str:
    return f"{value.file}:{value.line}" if value.file and value.line else value.file
