"""Core. What a lint rule is, what it finds, and the registry that tests, docs and `--explain` all read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Severity = Literal["error", "warning"]
# What a rule looks at. Its examples are whole texts of that kind.
KINDS = ("cloud-config", "kernel-line", "ipxe", "rack", "tree", "ignition", "preseed", "autoinstall", "talos")


@dataclass(frozen=True)
class Edit:
    """Replace the text from (line, column) up to (end_line, end_column), all from 1, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int
    text: str


@dataclass(frozen=True)
class Finding:
    """One fault at one place. file: a path; line and column from 1; fix: edits that are safe to make, if any."""

    code: str
    severity: Severity
    message: str
    line: int
    column: int
    file: str = ""
    fix: tuple[Edit, ...] = ()

    @property
    def where(self) -> str:
        """`file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}"

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"code": self.code, "severity": self.severity, "message": self.message, "file": self.file,
                "line": self.line, "column": self.column, "fixable": bool(self.fix)}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One rule. why: the behaviour behind it; bad: a text it finds; good: the same text mended."""

    code: str
    kind: str
    severity: Severity
    title: str
    why: str
    bad: str
    good: str

    def at(self, line: int, column: int, message: str, *fix: Edit) -> Finding:
        """This rule's finding at a place."""
        return Finding(self.code, self.severity, message, line, column, fix=fix)


RULES: dict[str, Rule] = {}
Check = Callable[[Any], Iterable[Finding]]
_CHECKS: dict[str, list[Check]] = {kind: [] for kind in KINDS}


def rule(code: str, kind: str, severity: Severity, title: str, *, why: str, bad: str, good: str) -> Rule:
    """Define and register a rule."""
    if code in RULES:
        raise ValueError(f"two rules are called {code}")
    RULES[code] = Rule(code, kind, severity, title, " ".join(why.split()), bad, good)
    return RULES[code]


def check(kind: str) -> Callable[[Check], Check]:
    """Register a function that looks at one kind of document and yields findings."""

    def register(function: Check) -> Check:
        _CHECKS[kind].append(function)
        return function

    return register


def run_checks(kind: str, document: Any, file: str = "") -> Iterator[Finding]:
    """Every finding of every check of a kind, each with its file."""
    for function in _CHECKS[kind]:
        for finding in function(document):
            yield replace(finding, file=file) if file else finding
