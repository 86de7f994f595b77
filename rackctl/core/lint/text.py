"""Core. Lint one text: parse it as its kind, run that kind's rules, drop what the text itself silences, mend it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from rackctl.core.lint import commands, files, formats, header, ipxe, kernel, keys, rack, services, tree, types
from rackctl.core.lint.rules import RULES, Edit, Finding, run_checks
from rackctl.errors import ConfigError

LOADED = (commands, files, keys, services, types)  # importing them registers their rules
_IGNORE = re.compile(r"rackctl: ignore(?:\s+((?:[A-Z]{2}\d{3}[, ]*)+))?")
_READERS: dict[str, Callable[[str], Any]] = {
    "cloud-config": header.read_cloud_config,
    "kernel-line": kernel.read_kernel_line,
    "ipxe": ipxe.read_ipxe,
    "rack": rack.read_rack_text,
    "tree": tree.read_tree_text,
    "ignition": header.read_cloud_config,
    "preseed": formats.read_preseed,
    "autoinstall": header.read_cloud_config,
    "talos": header.read_cloud_config,
}
# Line ends that YAML counts and editors do not; and a lone CR, with which a header's line is the whole file.
_ODD_BREAK = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_HEADER_CODES = ("CC001", "CC002", "CC003", "CC004")
_ROUNDS = 8  # one fix may uncover another: a blank line before a header in the wrong case


def lint_text(kind: str, text: str, file: str = "") -> list[Finding]:
    """Every finding in a text of one kind, in the order of the text."""
    found = list(run_checks(kind, _READERS[kind](text), file))
    found = drop_silenced(found, text)
    return sorted(_sharpest(found), key=lambda one: (one.line, one.column, one.code))


def drop_silenced(found: list[Finding], text: str) -> list[Finding]:
    """Without those that the text itself silences by `# rackctl: ignore CODE`."""
    if not found or "rackctl: ignore" not in text:
        return found
    lines = text.split("\n")
    return [one for one in found if not _silenced(one, lines)]


def _silenced(one: Finding, lines: list[str]) -> bool:
    for number in (one.line - 1, one.line - 2):
        here = lines[number] if 0 <= number < len(lines) else ""
        match = _IGNORE.search(here)
        alone = here.lstrip().startswith("#") and number == one.line - 2
        if match and (number == one.line - 1 or alone):
            return match[1] is None or one.code in match[1]
    return False


# The general rule keeps quiet where a special one has told the same fault better.
_SPECIAL = {"CC103": ("CC304", "CC401", "CC402", "SK001", "SK004"), "CC105": ("CC210", "SK005", "SK001")}


def _sharpest(found: list[Finding]) -> list[Finding]:
    told = {(one.code, one.line) for one in found}
    return [one for one in found if not any((code, one.line) in told for code in _SPECIAL.get(one.code, ()))]


def fix_text(kind: str, text: str) -> tuple[str, int]:
    """The text with every safe fix made, and how many were made. A fix that would bring another fault is left out."""
    made = 0
    if _ODD_BREAK.search(text):
        return text, 0
    for _ in range(_ROUNDS):
        edits = _disjoint(one.fix for one in lint_text(kind, text) if one.fix)
        text, count = _mend(kind, text, edits)
        made += count
        if not count:
            break
    return text, made


def _mend(kind: str, text: str, edits: list[Edit]) -> tuple[str, int]:
    mended = text
    for edit in reversed(edits):
        mended = _apply(mended, edit)
    if not _is_worse(kind, text, mended):
        return mended, len(edits)
    made = 0
    for edit in reversed(edits) if len(edits) > 1 else ():
        mended = _apply(text, edit)
        if not _is_worse(kind, text, mended):
            text, made = mended, made + 1
    return text, made


def _is_worse(kind: str, text: str, mended: str) -> bool:
    """An anchor that an alias needs, a key renamed onto another: a fix that is right alone may be wrong there."""
    before, after = (Counter(one.code for one in lint_text(kind, one_text)) for one_text in (text, mended))
    return any(count > before[code] for code, count in after.items() if code not in _HEADER_CODES)


def _disjoint(fixes: Iterable[tuple[Edit, ...]]) -> list[Edit]:
    chosen: list[Edit] = []
    for edit in sorted((edit for fix in fixes for edit in fix), key=lambda e: (e.line, e.column, e.end_line)):
        if not chosen or (chosen[-1].end_line, chosen[-1].end_column) <= (edit.line, edit.column):
            chosen.append(edit)
    return chosen


def _apply(text: str, edit: Edit) -> str:
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: edit.line - 1]) + edit.column - 1
    end = sum(len(line) + 1 for line in lines[: edit.end_line - 1]) + edit.end_column - 1
    return text[:start] + edit.text + text[end:]


def guess_kind(name: str, text: str) -> str:
    """What a file is, from its name and first lines. Raises ConfigError when it is none of what is linted."""
    first = text.removeprefix("\ufeff").lstrip().split("\n", 1)[0]
    if first.startswith("#!ipxe") or name.endswith(".ipxe"):
        return "ipxe"
    if name.endswith(("rack.yml", "rack.yaml")):
        return "rack"
    if re.match(r"#\s*(cloud|compose)", first, re.IGNORECASE) and re.search(r"^autoinstall:", text, re.MULTILINE):
        return "autoinstall"
    if re.search(r"^(variant|ignition):", text, re.MULTILINE) or re.match(r'\s*\{\s*"', text):
        return "ignition"
    if re.search(r"^(d-i|preseed/|debconf)\s", text, re.MULTILINE):
        return "preseed"
    if re.search(r"^machine:\s*$", text, re.MULTILINE) and re.search(r"^(version|cluster):", text, re.MULTILINE):
        return "talos"
    return "cloud-config"


def select(found: Iterable[Finding], only: Iterable[str], ignore: Iterable[str]) -> list[Finding]:
    """Those whose code starts with one of `only` (empty: all) and with none of `ignore`. Raises ConfigError."""
    only, ignore = tuple(only), tuple(ignore)
    for prefix in (*only, *ignore):
        if not any(code.startswith(prefix) for code in RULES):
            raise ConfigError(f"no lint rule is called {prefix}", remedy="rackctl lint --rules lists them")
    return [one for one in found if (not only or one.code.startswith(only)) and not one.code.startswith(ignore)]


def under(file: str, found: Iterable[Finding]) -> list[Finding]:
    """The same findings, in that file."""
    return [replace(one, file=file) for one in found]
