"""Core. Lint a rack's sources themselves for what merging hides: the rendered file has the number, not what was meant.

And keep secrets out of what is told: a finding quotes the value that it is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rackctl.core.config.resolve import Machine, source_items
from rackctl.core.config.sources import RACK_FILE, Inputs, inline_value, kind_of, source_text
from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Finding, run_checks
from rackctl.core.lint.text import drop_silenced, lint_text

# A doubled key, and scalars that YAML reads as something else: gone, or quietly another, once they are merged.
_HIDDEN = ("CC008", "CC201", "CC202", "CC210")
_LEAST_SECRET = 4  # a shorter one would blot out half of every message
_LEAST_PREFIX = 8  # messages cut long values


def lint_sources(machines: Iterable[Machine], inputs: Inputs) -> list[Finding]:
    """The hidden faults of each source that goes into a cloud-config, at their line and column."""
    seen: set[object] = set()
    found: list[Finding] = []
    for machine in machines:
        # The discovery OS stands in for machines that are not in rack.yml; a source is written for the others.
        if machine.kind != "cloud-config" or machine.os == "discovery":
            continue
        for item, path in source_items(machine.rack, machine.name, machine.node):
            key = item if isinstance(item, str) else path
            if key not in seen:
                seen.add(key)
                found += [replace(one, fix=()) for one in _lint_source(item, path, inputs) if one.code in _HIDDEN]
    return found


def _lint_source(item: object, path: tuple[str | int, ...], inputs: Inputs) -> Iterator[Finding]:
    if isinstance(item, str):
        text = source_text(inputs, item)
        if kind_of(item, text) == "cloud-config":
            yield from lint_text("cloud-config", text, item)
    elif (root := inline_value(inputs, path)) is not None:
        doc = CloudConfig("", [""], "cloud-config", root, None, None)
        yield from drop_silenced(list(run_checks("cloud-config", doc, RACK_FILE)), inputs.rack_text)


def sharpen(found: list[Finding]) -> list[Finding]:
    """Without what the rendered file tells of a value that its source tells better."""
    told = {(one.file, one.line) for one in found if one.code in _HIDDEN[1:]}
    return [one for one in found if one.code not in ("CC105", "CC212") or (one.file, one.line) not in told]


def hide_secrets(found: Iterable[Finding], inputs: Inputs) -> list[Finding]:
    """Each secret that was asked for, also where a message cut it, as ***."""
    lines = {line.strip() for secret in inputs.asked for line in secret.splitlines()}
    forms = {form for line in lines if len(line) >= _LEAST_SECRET for form in (line, repr(line)[1:-1])}
    secrets = sorted(forms, key=len, reverse=True)
    return [replace(one, message=_hide(one.message, secrets)) for one in found] if secrets else list(found)


def _hide(message: str, secrets: list[str]) -> str:
    for secret in secrets:
        least = min(len(secret), _LEAST_PREFIX)
        if secret[:least] in message:
            length = next(n for n in range(len(secret), least - 1, -1) if secret[:n] in message)
            message = message.replace(secret[:length], "***")
    return message
