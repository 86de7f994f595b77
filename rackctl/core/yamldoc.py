"""Core. YAML text in, values with line and column out, read as RancherOS reads them; and values out as stable text.

RancherOS' reader is a port of libyaml with the loose scalars of YAML 1.1 (`yes` is a boolean, `0644` an octal number).
PyYAML's C loader is libyaml itself, so what it takes RancherOS takes; `read_scalar` then follows RancherOS' resolver.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_NODES = 200_000  # aliases of aliases can unfold to any size; no honest config comes near this
_BOOLS = {"y": True, "yes": True, "true": True, "on": True, "n": False, "no": False, "false": False, "off": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INT = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0o?[0-7]+|[1-9][0-9]*|0)")
_MOST_DIGITS = 100  # no integer type of any reader holds more, and Python refuses to print some thousands
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|\.inf|\.nan)", re.IGNORECASE)
_TIME = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t]+[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?")
_SEXAGESIMAL = re.compile(r"[+-]?[0-9]+(:[0-5]?[0-9])+")  # YAML 1.1; RancherOS keeps the text


class YamlFault(Exception):
    """Text that is not YAML: message, line and column (from 1)."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(slots=True)
class Value:
    """A node. kind: map, list, str, int, float, bool, null or time. Lines and columns count from 1.

    text: a scalar as it is written, without quotes; plain: it stands without quotes; block: it is a `|` or `>` scalar;
    tag: a tag of its own, like `!secret`; file: where it was read, if several files meet.
    """

    kind: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str = ""
    plain: bool = False
    block: bool = False
    entries: list[tuple[Value, Value]] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)
    tag: str = ""
    file: str = ""

    def get(self, *path: str) -> Value | None:
        """The value at a path of map keys; the last of doubled keys wins, as in every reader."""
        found = self
        for wanted in path:
            for key, value in reversed(found.entries):
                if key.text == wanted:
                    found = value
                    break
            else:
                return None
        return found

    def walk(self) -> Iterator[Value]:
        """This value and everything below it, without map keys."""
        yield self
        for _, value in self.entries:
            yield from value.walk()
        for item in self.items:
            yield from item.walk()

    @property
    def scalar(self) -> bool:
        """Neither a map nor a list."""
        return self.kind not in ("map", "list")

    def converted(self) -> str:
        """A scalar's text after a trip through RancherOS' reader: `0123` comes out as `83`, `yes` as `true`."""
        if self.kind == "bool":
            return "true" if _BOOLS[self.text.lower()] else "false"
        if self.kind == "int":
            return str(_int(self.text))
        if self.kind == "float":
            return f"{float(self.text.replace('_', '').lower().replace('.inf', 'inf').replace('.nan', 'nan')):g}"
        return "" if self.kind == "null" else self.text


def _int(text: str) -> int:
    text = text.replace("_", "")
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if digits[:2].lower() == "0x":
        return sign * int(digits, 16)
    if digits.startswith("0") and len(digits) > 1:
        return sign * int(digits.removeprefix("0o"), 8)
    return sign * int(digits)


def read_scalar(text: str) -> str:
    """What RancherOS takes an unquoted scalar for: str, int, float, bool, null or time."""
    if text in _NULLS:
        return "null"
    if text[0] in "+-.0123456789":
        bare = text.replace("_", "")
        if _INT.fullmatch(bare):
            return "int" if len(bare) <= _MOST_DIGITS else "str"
        if _FLOAT.fullmatch(bare):
            return "float"
        return "time" if _TIME.fullmatch(text) else "str"
    return "bool" if len(text) <= 5 and text.lower() in _BOOLS else "str"


def is_sexagesimal(text: str) -> bool:
    """`22:22`, which YAML 1.1 reads as a number of base 60."""
    return bool(_SEXAGESIMAL.fullmatch(text))


def parse_yaml(text: str, file: str = "") -> tuple[Value | None, int | None]:
    """The first document and the line of a second one, if there is one.

    None for a text without content. Raises YamlFault.
    """
    try:
        loader = _Loader(text)
        try:
            node = None
            if loader.check_node():
                node = loader.get_node()
            second = None
            if node is not None and loader.check_node():
                more = loader.get_node()
                second = more.start_mark.line + 1 if more is not None else None
        finally:
            loader.dispose()
        return (None if node is None else _Unfold(file).value(node)), second
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlFault(_say(wrong), line, column) from wrong
    except yaml.reader.ReaderError as wrong:
        line = text.count("\n", 0, wrong.position) + 1 if isinstance(wrong.position, int) else 1
        raise YamlFault("a character that YAML does not allow", line, 1) from wrong
    except (RecursionError, yaml.YAMLError, ValueError) as wrong:
        raise YamlFault(f"cannot be read: {str(wrong)[:120]}", 1, 1) from wrong


def _say(wrong: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (wrong.context, wrong.problem) if part) or "not YAML"


class _Loader(yaml.CSafeLoader):
    """Leaves the kinds of scalars to `read_scalar`, which knows RancherOS' own."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 as PyYAML declares it


class _Unfold:
    """Nodes to values, aliases unfolded, with a bound."""

    def __init__(self, file: str) -> None:
        self.left = MAX_NODES
        self.file = file

    def value(self, node: Any) -> Value:
        self.left -= 1
        if self.left < 0:
            raise YamlFault("aliases unfold to more than 200,000 values", 1, 1)
        start, end = node.start_mark, node.end_mark
        place = (start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        tag = "" if node.tag.startswith("tag:yaml.org,2002:") else node.tag
        if isinstance(node, yaml.ScalarNode):
            plain = not node.style
            kind = read_scalar(node.value) if plain and not tag else "str"
            block = node.style in ("|", ">")
            return Value(kind, *place, node.value, plain, block, tag=tag, file=self.file)
        if isinstance(node, yaml.MappingNode):
            entries = [(self.value(k), self.value(v)) for k, v in node.value]
            return Value("map", *place, entries=entries, tag=tag, file=self.file)
        return Value("list", *place, items=[self.value(item) for item in node.value], tag=tag, file=self.file)


def to_plain(value: Value) -> Any:
    """Python data: maps, lists, strings, ints, floats, booleans and None, as RancherOS reads them."""
    if value.kind == "map":
        return {k.text: to_plain(v) for k, v in value.entries}
    if value.kind == "list":
        return [to_plain(item) for item in value.items]
    if value.kind == "bool":
        return _BOOLS[value.text.lower()]
    if value.kind == "int":
        return _int(value.text)
    if value.kind == "float":
        return float(value.text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return None if value.kind == "null" else value.text


def make_value(data: Any, file: str, line: int = 1, column: int = 1) -> Value:
    """Python data as a value that was "read" at one place."""
    place = (line, column, line, column)
    if type(data) is str:
        return Value("str", *place, data, file=file)
    if isinstance(data, dict):
        entries = [(make_value(str(k), file, line), make_value(v, file, line)) for k, v in data.items()]
        return Value("map", *place, entries=entries, file=file)
    if isinstance(data, (list, tuple)):
        return Value("list", *place, items=[make_value(item, file, line) for item in data], file=file)
    if isinstance(data, str):
        return Value("str", *place, data, file=file)
    kind = {bool: "bool", int: "int", float: "float"}.get(type(data), "null")
    text = "" if data is None else str(data).lower() if isinstance(data, bool) else str(data)
    return Value(kind, *place, text, True, file=file)


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text and not re.search(r"[ \t]\n|[^\n\t\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd]", text):
        style = "|"
    elif read_scalar(text) != "str" or is_sexagesimal(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)


def dump_yaml(data: Any) -> str:
    """Stable block-style text; a string that some reader takes for a number or boolean is quoted, lines stay whole."""
    if data == {}:
        return "{}\n"
    return str(
        yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=2**30, allow_unicode=True)
    )
