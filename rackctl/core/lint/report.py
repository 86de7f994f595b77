"""Core. Findings as text for people, JSON for scripts, GitHub annotations, SARIF; and a rule explained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from rackctl.core.lint.rules import RULES, Finding, Rule
from rackctl.errors import ConfigError

FORMATS = ("text", "json", "github", "sarif")


def report(found: Sequence[Finding], form: str, version: str) -> str:
    """The findings in one of FORMATS."""
    if form == "json":
        return json.dumps([one.to_json() for one in found], indent=2)
    if form == "github":
        return "\n".join(_annotate(one) for one in found)
    if form == "sarif":
        return json.dumps(_sarif(found, version), indent=2)
    return "\n".join(f"{one.where}: {one.code} {one.severity}: {one.message}" for one in found)


def summary(found: Sequence[Finding]) -> str:
    """`2 errors, 1 warning, 1 of them can be mended by --fix`; empty for none."""
    if not found:
        return ""
    errors = sum(one.severity == "error" for one in found)
    fixable = sum(bool(one.fix) for one in found)
    told = f"{_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}"
    return told + (f"; --fix mends {fixable}" if fixable else "")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _annotate(one: Finding) -> str:
    # The workflow command's own escapes: % and line ends in the message, : and , too in a property.
    message = one.message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = one.file.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{one.severity} file={file},line={one.line},col={one.column},title={one.code}::{message}"


def _sarif(found: Sequence[Finding], version: str) -> dict[str, object]:
    """SARIF 2.1.0, the form that code hosts show in their review pages."""
    rules = [RULES[code] for code in sorted({one.code for one in found})]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "rackctl", "version": version, "rules": [_sarif_rule(r) for r in rules]}},
                "results": [_sarif_result(one) for one in found],
            }
        ],
    }


def _sarif_rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sarif_result(one: Finding) -> dict[str, object]:
    region = {"startLine": one.line, "startColumn": one.column}
    place = {"artifactLocation": {"uri": quote(one.file)}, "region": region}
    return {
        "ruleId": one.code,
        "level": one.severity,
        "message": {"text": one.message},
        "locations": [{"physicalLocation": place}],
    }


def explain(code: str) -> str:
    """A rule with its reason and examples. Raises ConfigError for an unknown code."""
    rule = RULES.get(code.upper())
    if rule is None:
        raise ConfigError(f"no lint rule is called {code}", remedy="rackctl lint --rules lists them")
    return "\n".join(
        [f"{rule.code} ({rule.severity}, {rule.kind}): {rule.title}", "", rule.why, "", "bad:", *_indent(rule.bad), "",
         "good:", *_indent(rule.good)]
    )  # fmt: skip


def _indent(text: str) -> list[str]:
    return ["    " + line for line in show(text).split("\n")]


def show(text: str) -> str:
    """An example with what the eye cannot see made visible, long lines cut."""
    text = text.replace("\ufeff", "<BOM>").replace("\r", "<CR>").replace("\t", "<TAB>").removesuffix("\n")
    return "\n".join(
        line if len(line) <= 160 else f"{line[:100]}... ({len(line)} characters)" for line in text.split("\n")
    )


def list_rules() -> str:
    """One line per rule."""
    return "\n".join(f"{r.code}  {r.severity:<7}  {r.kind:<12}  {r.title}" for r in sorted(RULES.values(), key=_code))


def _code(rule: Rule) -> str:
    return rule.code


_SECTIONS = {
    "CC": "Cloud-config", "SK": "SSH keys", "KL": "The kernel line", "IP": "iPXE scripts", "RK": "The rack",
    "TR": "What is served", "OF": "Other formats",
}  # fmt: skip


def render_docs() -> str:
    """docs/lint.md, from the same data as the rules' tests."""
    parts = [_HEAD.format(count=len(RULES))]
    for prefix, title in _SECTIONS.items():
        rules = sorted((rule for rule in RULES.values() if rule.code.startswith(prefix)), key=_code)
        if rules:
            parts.append(f"## {title}\n")
            parts += [_section(rule) for rule in rules]
    return "\n".join(parts)


def _section(rule: Rule) -> str:
    return (
        f"### {rule.code}: {rule.title}\n\n{rule.severity.capitalize()}. {rule.why}\n\n"
        f"Bad:\n```\n{show(rule.bad)}\n```\nGood:\n```\n{show(rule.good)}\n```\n"
    )


_HEAD = """\
<!-- Written by `UPDATE_GOLDEN=1 pytest tests/core/lint` from rackctl/core/lint; do not edit. -->
# rackctl lint

`rackctl lint` reads rack.yml, its config sources and everything that is rendered from them, and needs no engine.
`rackctl lint FILE...` reads single files, without a rack: cloud-configs, iPXE scripts, Ignition, Butane, preseed,
autoinstall and Talos files.

```
rackctl lint --rack myrack                      # exit code 2 if there is an error
rackctl lint cloud-config.yml --fix             # mend what is safe to mend
rackctl lint --explain CC301                    # one rule, its reason, an example
rackctl lint --format github|sarif|json         # for a pipeline
rackctl lint --select CC,KL --ignore CC302      # by code or by its beginning
```

An error means that the machine drops the file, or that something in it certainly does not happen. A warning means:
probably not what was meant.
A line that ends in `# rackctl: ignore CC302`, or that follows such a comment line, is not told of.

There are {count} rules.
"""
