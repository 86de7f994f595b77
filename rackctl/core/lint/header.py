"""Core. Rules CC0xx: the first line and the YAML of a cloud-config. RancherOS drops a file that fails here, whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rackctl.core.lint.rules import Edit, Finding, check, rule
from rackctl.core.yamldoc import Value, YamlFault, parse_yaml

HEADER = "#cloud-config"
_NEAR = re.compile(r"\s*#\s*cloud[-_ ]?config\b.*", re.IGNORECASE)


@dataclass(frozen=True)
class CloudConfig:
    """A cloud-config with what its text parses to. kind: cloud-config, script, compose or unknown."""

    text: str
    lines: list[str]
    kind: str
    root: Value | None
    fault: YamlFault | None
    second: int | None

    def find(self, *path: str) -> Value | None:
        """The value at a path of keys, or None."""
        return self.root.get(*path) if self.root else None


def read_cloud_config(text: str) -> CloudConfig:
    """Parse as far as it goes; faults are kept for the rules to tell."""
    lines = text.removeprefix("\ufeff").split("\n")
    first = lines[0]
    kind = "cloud-config" if first.rstrip() == HEADER else "unknown"
    if first.startswith("#!"):
        return CloudConfig(text, lines, "script", None, None, None)
    if first.strip() == "#compose":
        kind = "compose"
    try:
        root, second = parse_yaml(text.removeprefix("\ufeff"))
    except YamlFault as fault:
        return CloudConfig(text, lines, kind, None, fault, None)
    if kind == "compose" and root is not None:
        root = _nest(root, "services", "rancher")
    return CloudConfig(text, lines, kind, root, None, second)


def _nest(value: Value, *keys: str) -> Value:
    for key in keys:
        name = Value("str", value.line, 1, value.line, 1, key)
        value = Value("map", value.line, 1, value.end_line, value.end_column, entries=[(name, value)])
    return value


NO_HEADER = rule(
    "CC001", "cloud-config", "error", "the first line is not `#cloud-config`",
    why="RancherOS looks at the very first line. Anything but `#cloud-config`, `#!` or `#compose` is logged as "
    "unrecognized user-data and dropped: the machine boots with no key and no hostname.",
    bad="hostname: n1\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
BOM = rule(
    "CC002", "cloud-config", "error", "a byte-order mark stands before `#cloud-config`",
    why="Some editors put three invisible bytes first. RancherOS compares the first line with them and drops the file.",
    bad="\ufeff#cloud-config\nhostname: n1\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
BLANK_FIRST = rule(
    "CC003", "cloud-config", "error", "blanks stand before `#cloud-config`",
    why="A blank line or a blank before the header makes it another first line: RancherOS drops the file.",
    bad="\n#cloud-config\nhostname: n1\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
NEAR_HEADER = rule(
    "CC004", "cloud-config", "error", "the first line is almost `#cloud-config`",
    why="`# cloud-config`, `#Cloud-Config` and `#cloud-config # note` are comments to RancherOS, not the header.",
    bad="# cloud-config\nhostname: n1\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
CRLF = rule(
    "CC005", "cloud-config", "warning", "the lines end in CR LF",
    why="RancherOS accepts it in YAML, but in `#compose` and in scripts the CR becomes part of the text.",
    bad="#cloud-config\r\nhostname: n1\r\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
TAB = rule(
    "CC006", "cloud-config", "error", "a line is indented with a tab",
    why="YAML allows only spaces there; the whole file is dropped.",
    bad="#cloud-config\nrancher:\n\tdebug: true\n", good="#cloud-config\nrancher:\n  debug: true\n",
)  # fmt: skip
SYNTAX = rule(
    "CC007", "cloud-config", "error", "the file is not YAML",
    why="A file that does not parse is dropped whole: no keys, no hostname, a machine that nobody can reach.",
    bad="#cloud-config\nhostname: n1\nrancher: [debug\n", good="#cloud-config\nhostname: n1\nrancher: {debug: true}\n",
)  # fmt: skip
DOUBLED_KEY = rule(
    "CC008", "cloud-config", "warning", "a key stands twice in one map",
    why="The last one wins without a word; the first is lost with all that is under it.",
    bad="#cloud-config\nrancher: {debug: true}\nhostname: n1\nrancher: {log: true}\n",
    good="#cloud-config\nrancher: {debug: true, log: true}\nhostname: n1\n",
)  # fmt: skip
SECOND_DOCUMENT = rule(
    "CC009", "cloud-config", "warning", "a second YAML document follows",
    why="RancherOS reads the first document only; what follows is lost without a word.",
    bad="#cloud-config\nhostname: n1\n---\nruncmd: [echo hello]\n",
    good="#cloud-config\nhostname: n1\nruncmd: [echo hello]\n",
)  # fmt: skip
EMPTY = rule(
    "CC010", "cloud-config", "error", "nothing follows the header",
    why="A file of only the header is a parse error to RancherOS.",
    bad="#cloud-config\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
NOT_A_MAP = rule(
    "CC011", "cloud-config", "error", "the file is not a map of keys",
    why="RancherOS converts the document to its config; a list or a string cannot be converted and is dropped.",
    bad="#cloud-config\n- hostname: n1\n", good="#cloud-config\nhostname: n1\n",
)  # fmt: skip
COMPOSE_HEADER = rule(
    "CC012", "cloud-config", "error", "blanks or a CR follow `#compose`",
    why="`#compose` must be the whole first line with a plain LF; with anything after it the file is unrecognized.",
    bad="#compose \nweb: {image: 'nginx:1.27'}\n", good="#compose\nweb: {image: 'nginx:1.27'}\n",
)  # fmt: skip


def _replace_line(doc: CloudConfig, text: str) -> Edit:
    return Edit(1, 1, 1, len(doc.text.split("\n", 1)[0]) + 1, text)


@check("cloud-config")
def check_header(doc: CloudConfig) -> Iterator[Finding]:
    """The first line."""
    bare = doc.text.removeprefix("\ufeff")
    if bare != doc.text:
        yield BOM.at(1, 1, "a byte-order mark stands before the first line", Edit(1, 1, 1, 2, ""))
    if doc.kind == "compose" and doc.lines[0] != "#compose":
        yield COMPOSE_HEADER.at(1, 9, "blanks or a CR follow #compose", _replace_line(doc, "#compose"))
    if doc.kind != "unknown":
        return
    stripped = bare.lstrip()
    if stripped.split("\n", 1)[0].rstrip() == HEADER:
        line = len(bare[: len(bare) - len(stripped)].split("\n"))
        column = len(bare[: len(bare) - len(stripped)].rsplit("\n", 1)[-1]) + 1
        yield BLANK_FIRST.at(1, 1, f"blanks stand before {HEADER}", Edit(1, 1, line, column, ""))
    elif _NEAR.fullmatch(doc.lines[0].rstrip("\r")):
        yield NEAR_HEADER.at(1, 1, f"write exactly {HEADER}, nothing else on the line", _replace_line(doc, HEADER))
    else:
        fix = (Edit(1, 1, 1, 1, HEADER + "\n"),) if doc.root is not None and doc.root.kind == "map" else ()
        yield NO_HEADER.at(1, 1, f"the first line must be {HEADER}", *fix)


@check("cloud-config")
def check_yaml(doc: CloudConfig) -> Iterator[Finding]:
    """What the parser says, and what it does not say."""
    if "\r\n" in doc.text:
        last = doc.text.split("\n")
        whole = Edit(1, 1, len(last), len(last[-1]) + 1, doc.text.replace("\r\n", "\n"))
        yield CRLF.at(1, len(doc.lines[0]) or 1, "the lines end in CR LF", whole)
    if doc.kind == "script":
        return
    if doc.fault:
        line, column = doc.fault.line, doc.fault.column
        here = doc.lines[line - 1] if line <= len(doc.lines) else ""
        tab = re.match(r" *\t", here)
        known = TAB.at(line, tab.end(), "indent with spaces, not with a tab") if tab else None
        yield known or SYNTAX.at(line, column, doc.fault.message)
    elif doc.root is None or doc.root.kind == "null":
        yield EMPTY.at(1, 1, "nothing follows the header")
    elif doc.root.kind != "map":
        yield NOT_A_MAP.at(doc.root.line, doc.root.column, f"a map of keys must stand here, not a {doc.root.kind}")
    if doc.second:
        yield SECOND_DOCUMENT.at(doc.second, 1, "only the first document is read")


@check("cloud-config")
def check_doubled_keys(doc: CloudConfig) -> Iterator[Finding]:
    """Keys that hide others."""
    for value in doc.root.walk() if doc.root else ():
        seen: dict[str, int] = {}
        for key, _ in value.entries:
            if key.text in seen:
                message = f"{key.text} stands here again; line {seen[key.text]} is lost"
                yield DOUBLED_KEY.at(key.line, key.column, message)
            seen[key.text] = key.line
