"""Core. Config sources: the texts that rack.yml names, as values that know their file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2 import Template, TemplateError, TemplateSyntaxError

from rackctl.core.config.templates import fill_template, read_template
from rackctl.core.yamldoc import Value, YamlFault, make_value, parse_yaml
from rackctl.errors import ConfigError

if TYPE_CHECKING:
    from rackctl.core.model import Node, Rack

TEMPLATE = ".j2"
RACK_FILE = "rack.yml"


@dataclass(frozen=True)
class Inputs:
    """What stands beside rack.yml.

    texts: path -> text of each config source; secrets: name -> text; keys: `github:USER` or a .pub path -> its key
    lines; rack_text: rack.yml itself, so that what is written in it has a line; made: what was made of them
    already; asked: the secrets that were asked for.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rack_text: str = field(default="", repr=False)
    made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    asked: set[str] = field(default_factory=set, repr=False, compare=False)

    def secret(self, name: str, where: str = "") -> str:
        """Raises ConfigError when secrets/ has no such file."""
        if name not in self.secrets:
            raise ConfigError(f"there is no secret {name!r}", where, f"put it into secrets/{name}, mode 0600")
        secret = self.secrets[name].strip()
        self.asked.add(secret)
        return secret

    def rack_value(self, *path: str) -> Value | None:
        """The value at a path of rack.yml, with its line."""
        if "rack" not in self.made:
            try:
                self.made["rack"] = parse_yaml(self.rack_text, RACK_FILE)[0] if self.rack_text else None
            except YamlFault:
                self.made["rack"] = None
        root: Value | None = self.made["rack"]
        return root.get(*path) if root else None


@dataclass(frozen=True)
class Source:
    """One source, read. kind: a config kind of the catalogue; root: None for preseed, which is no YAML."""

    name: str
    kind: str
    text: str
    root: Value | None


def read_source(inputs: Inputs, item: str | dict[str, Any], path: tuple[str | int, ...], context: Context) -> Source:
    """path: where rack.yml names it. Raises ConfigError."""
    if not isinstance(item, str):
        return Source(RACK_FILE, "cloud-config", "", _inline(inputs, item, path))
    if item not in inputs.texts:
        raise ConfigError(f"there is no config source {item}", RACK_FILE, f"write {item}, or take it out of rack.yml")
    if item.endswith(TEMPLATE):
        text = _render(inputs, item, context)
        inputs.made.setdefault(("rendered", item), text)
        return _parse(item, text)
    made: Source | None = inputs.made.get(item)
    if made is None:
        made = inputs.made[item] = _parse(item, inputs.texts[item])
    return made


def source_text(inputs: Inputs, name: str) -> str:
    """A source's text; of a template, the first that was rendered from it."""
    rendered: str = inputs.made.get(("rendered", name), "")
    return rendered if name.endswith(TEMPLATE) else inputs.texts.get(name, "")


def inline_value(inputs: Inputs, path: tuple[str | int, ...]) -> Value | None:
    """A source that is written in rack.yml, with its lines."""
    found = inputs.rack_value(*(str(part) for part in path[:-1]))
    if found and found.kind == "list" and isinstance(path[-1], int) and path[-1] < len(found.items):
        return found.items[path[-1]]
    return None


def _inline(inputs: Inputs, item: dict[str, Any], path: tuple[str | int, ...]) -> Value:
    return inline_value(inputs, path) or make_value(item, RACK_FILE)


def _parse(name: str, text: str) -> Source:
    kind = kind_of(name.removesuffix(TEMPLATE), text)
    if kind == "preseed":
        return Source(name, kind, text, None)
    try:
        root, second = parse_yaml(text.removeprefix("\ufeff"), name)
    except YamlFault as wrong:
        where = f"{name}:{wrong.line}:{wrong.column}"
        raise ConfigError(wrong.message, where, "look at the indentation and quotes there") from wrong
    if second:
        raise ConfigError("a second YAML document follows", f"{name}:{second}", "put it into a file of its own")
    if root is not None and root.kind not in ("map", "null"):
        raise ConfigError("a map of keys must stand here", f"{name}:{root.line}", "write key: value lines")
    return Source(name, kind, text, root if root and root.kind == "map" else None)


def kind_of(name: str, text: str) -> str:
    """Which system reads a source, from its name and its keys."""
    if name.endswith((".cfg", ".preseed", ".seed")) or re.search(r"^d-i\s", text, re.MULTILINE):
        return "preseed"
    if re.search(r"^(variant|ignition):|^\s*\{\s*\"ignition\"", text, re.MULTILINE):
        return "ignition"
    if re.search(r"^autoinstall:", text, re.MULTILINE):
        return "autoinstall"
    if re.search(r"^machine:\s*$", text, re.MULTILINE):
        return "talos"
    return "cloud-config"


@dataclass(frozen=True)
class Context:
    """For whom a template is rendered; node: None for machines that are not in rack.yml."""

    rack: Rack
    name: str | None
    node: Node | None
    hostname: str | None


def _render(inputs: Inputs, name: str, context: Context) -> str:
    def secret(wanted: str) -> str:
        if context.node is None:
            raise ConfigError(
                f"{wanted}: no secret is for machines that are not in rack.yml", name, "{% if node %} ... {% endif %}"
            )
        return inputs.secret(wanted, name)

    try:
        template: Template | None = inputs.made.get(name)
        if template is None:
            template = inputs.made[name] = read_template(inputs.texts[name])
        rack = context.rack
        return fill_template(
            template,
            {
                "rack": rack,
                "server": rack.server,
                "node": _node(context),
                "secret": secret,
                "hostname": context.hostname,
            },
        )
    except TemplateSyntaxError as wrong:
        raise ConfigError(f"template: {wrong.message}", f"{name}:{wrong.lineno}", "mend the template") from wrong
    except _FAULTS as wrong:
        who = context.name or "machines that are not in rack.yml"
        where = f"{name}:{_line(wrong)}" if _line(wrong) else name
        raise ConfigError(
            f"template, for {who}: {str(wrong) or type(wrong).__name__}", where, "{% if node %} tells the two apart"
        ) from wrong


def _line(wrong: Exception) -> int:
    """The template's line: Jinja2 puts frames of the file `<template>` into the traceback."""
    trace, line = wrong.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _node(context: Context) -> dict[str, object] | None:
    if context.node is None:
        return None
    node = context.node
    os = context.rack.os_of(node)
    return {
        "name": context.name, "hostname": context.hostname, "mac": node.mac, "os": os.name, "version": os.version,
        "address": str(node.address) if node.address else "", "groups": node.groups,
    }  # fmt: skip


# What an expression of a template can raise.
_FAULTS = (
    TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError, MemoryError, RecursionError,
)  # fmt: skip
