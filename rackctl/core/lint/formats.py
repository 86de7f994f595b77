"""Core. Rules OF0xx: machine configs of other systems (Ignition and Butane, preseed, autoinstall, Talos)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rackctl.core.config.formats.ignition import find_faults
from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Edit, Finding, check, rule

_TYPES = ("string", "boolean", "select", "multiselect", "password", "note", "text", "error", "title", "seen")
_TALOS_TYPES = ("controlplane", "worker", "init")

IGNITION_FAULT = rule(
    "OF001", "ignition", "error", "a key or value that Ignition does not know",
    why="Ignition refuses the whole config, and the machine stops in its initramfs.",
    bad="variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n  - path: /etc/motd\n    permissions: 0644\n",
    good="variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n  - path: /etc/motd\n    mode: 0644\n",
)  # fmt: skip
NOT_YAML = rule(
    "OF002", "ignition", "error", "the file is neither YAML nor JSON",
    why="Nothing of it can be read, so nothing of it happens; most installers then stop and ask.",
    bad="variant: flatcar\nstorage: [\n", good="variant: flatcar\nversion: 1.0.0\n",
)  # fmt: skip
BAD_ANSWER = rule(
    "OF010", "preseed", "error", "a line that is no preseed answer",
    why="A line is owner, question, type, value. debconf skips what it cannot read, and the installer stops there and "
    "asks.",
    bad="d-i netcfg/get_hostname n1\n", good="d-i netcfg/get_hostname string n1\n",
)  # fmt: skip
ANSWERED_TWICE = rule(
    "OF011", "preseed", "warning", "a question that is answered twice",
    why="The last answer wins; of two late_commands only the last runs.",
    bad="d-i preseed/late_command string touch /target/a\nd-i preseed/late_command string touch /target/b\n",
    good="d-i preseed/late_command string touch /target/a; touch /target/b\n",
)  # fmt: skip
NO_CLOUD_HEADER = rule(
    "OF020", "autoinstall", "error", "autoinstall data without `#cloud-config` in front",
    why="cloud-init takes user-data for what its first line says; without it the installer comes up and asks.",
    bad="# cloud-config\nautoinstall:\n  version: 1\n", good="#cloud-config\nautoinstall:\n  version: 1\n",
)  # fmt: skip
NO_VERSION = rule(
    "OF021", "autoinstall", "error", "autoinstall without `version: 1`",
    why="The installer refuses autoinstall data whose version it does not know.",
    bad="#cloud-config\nautoinstall:\n  packages: [htop]\n",
    good="#cloud-config\nautoinstall:\n  version: 1\n  packages: [htop]\n",
)  # fmt: skip
NO_MACHINE_TYPE = rule(
    "OF030", "talos", "error", "a Talos config without a known machine.type",
    why="Talos refuses a config that says neither controlplane nor worker, and waits in maintenance mode.",
    bad="version: v1alpha1\nmachine:\n  type: agent\n", good="version: v1alpha1\nmachine:\n  type: worker\n",
)  # fmt: skip
NO_TALOS_VERSION = rule(
    "OF031", "talos", "error", "a Talos config without `version: v1alpha1`",
    why="It is the only version of the document; without it the config is refused.",
    bad="version: v1\nmachine:\n  type: worker\n", good="version: v1alpha1\nmachine:\n  type: worker\n",
)  # fmt: skip


@check("ignition")
def check_ignition(doc: CloudConfig) -> Iterator[Finding]:
    """Every key and type of the spec."""
    if doc.fault:
        yield NOT_YAML.at(doc.fault.line, doc.fault.column, doc.fault.message)
    elif doc.root is not None and doc.root.kind == "map":
        for line, column, message in find_faults(doc.root):
            yield IGNITION_FAULT.at(line, column, message)


def read_preseed(text: str) -> list[tuple[int, str]]:
    """Line number and text of each answer, continued lines joined."""
    answers: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        start = start or number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        whole = (pending + line).strip()
        if whole and not whole.startswith("#"):
            answers.append((start, whole))
        pending, start = "", 0
    return answers


@check("preseed")
def check_preseed(doc: list[tuple[int, str]]) -> Iterator[Finding]:
    """The form of each answer, and answers that meet."""
    seen: dict[str, int] = {}
    for line, answer in doc:
        words = answer.split(None, 3)
        if len(words) < 3 or words[2] not in _TYPES or not re.fullmatch(r"[\w.+-]+/\S+", words[1]):
            yield BAD_ANSWER.at(line, 1, f"{answer[:60]!r} is not: owner question type value")
        elif words[1] in seen:
            yield ANSWERED_TWICE.at(line, 1, f"{words[1]} is answered on line {seen[words[1]]} already")
        else:
            seen[words[1]] = line


@check("autoinstall")
def check_autoinstall(doc: CloudConfig) -> Iterator[Finding]:
    """Header and version."""
    if doc.fault:
        yield NOT_YAML.at(doc.fault.line, doc.fault.column, doc.fault.message)
        return
    if doc.kind != "cloud-config":
        fix = Edit(1, 1, 1, 1, "#cloud-config\n")
        yield NO_CLOUD_HEADER.at(1, 1, "the first line must be #cloud-config", fix)
    found, version = doc.find("autoinstall"), doc.find("autoinstall", "version")
    if found and (version is None or version.text != "1"):
        place = version or found
        yield NO_VERSION.at(place.line, place.column, "autoinstall needs version: 1")


@check("talos")
def check_talos(doc: CloudConfig) -> Iterator[Finding]:
    """The two keys that Talos refuses a config without."""
    if doc.fault:
        yield NOT_YAML.at(doc.fault.line, doc.fault.column, doc.fault.message)
        return
    kind, version = doc.find("machine", "type"), doc.find("version")
    if kind is None or kind.text not in _TALOS_TYPES:
        place = kind or doc.root
        yield NO_MACHINE_TYPE.at(place.line if place else 1, 1, f"machine.type is one of {', '.join(_TALOS_TYPES)}")
    if version is None or version.text != "v1alpha1":
        yield NO_TALOS_VERSION.at(version.line if version else 1, 1, "version: v1alpha1 is missing")
