"""Core. Rules TR0xx: the rendered tree, where scripts, configs and artifacts must fit each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rackctl.core.lint.rules import Finding, check, rule
from rackctl.core.tree import Tree

_BASE = "=== http/boot/default.ipxe\n#!ipxe\nset base http://10.0.0.1:83\n"
_KERNEL = "kernel ${base}/os/x/1/vmlinuz console=ttyS0 rackctl.config=${base}/config/%s || shell\n"
_SERVED = "=== http/os/x/1/vmlinuz\nk\n=== http/config/default\n#cloud-config\nhostname: a\n"
_SET = re.compile(r"^\s*set\s+(\S+)\s+(\S+)\s*$", re.MULTILINE)
_URL = re.compile(r"https?://[^\s\"'\[\]|]+")
_LOADS = re.compile(r"\s*(kernel|initrd|module|chain|imgfetch|imgargs|sanboot)\s")
_OS = re.compile(r"\brackctl\.os=(\S+)")
# What a token looks like: k3s and rke2 (K10<sha256>::), swarm, kubeadm, Rancher, and variables that carry one.
_TOKEN = re.compile(
    r"K10[0-9a-f]{10,}::|SWMTKN-[0-9a-z-]{10,}|\b[a-z0-9]{6}\.[a-z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(?:K3S_TOKEN|K3S_CLUSTER_SECRET|RKE2_TOKEN|CATTLE_TOKEN|CATTLE_AGENT_TOKEN)[=:]\s*\S"
    r"|\brancher\.password=\S|--token[= ]+[^\s$\"']{8,}|^\s*token: *[^\s!{]\S{7,}",
    re.MULTILINE,
)

NOT_SERVED = rule(
    "TR001", "tree", "error", "a URL that the master does not serve",
    why="The script or kernel line names a file of this master that is not in the tree: the machine gets a 404 and "
    "stops there.",
    bad=_BASE + _KERNEL % "defualt" + _SERVED, good=_BASE + _KERNEL % "default" + _SERVED,
)  # fmt: skip
SECRET_FOR_ALL = rule(
    "TR002", "tree", "error", "a secret in a file that every machine may fetch",
    why="default.ipxe and config/default are for machines that nobody knows: what is in them is known to the whole "
    "network. Tokens go to nodes of rack.yml, by `join:` or `!secret`.",
    bad="=== http/config/default\n#cloud-config\nrancher:\n  environment: {K3S_TOKEN: 'abcdefgh'}\n",
    good="=== http/config/default\n#cloud-config\nrancher:\n  environment: {COLOUR: blue}\n",
)  # fmt: skip


@dataclass(frozen=True)
class TreeDoc:
    """files: path -> text, for those below http/; served: every path that HTTP serves."""

    files: Mapping[str, str]
    served: frozenset[str]

    def os_of(self, path: str) -> str:
        """The OS that the boot script beside a config file starts; empty if unknown."""
        key = path.removeprefix("http/config/").split("/")[0].split(".")[0]
        found = _OS.search(self.files.get(f"http/boot/{key}.ipxe", ""))
        return found[1] if found else ""


def read_tree(tree: Tree) -> TreeDoc:
    """Texts alone: archives are not looked into."""
    files = {}
    for path, content in tree.files.items():
        if path.startswith("http/") and not path.endswith(".gz"):
            files[path] = content.decode("utf-8", "replace")
    return TreeDoc(files, frozenset(path for path in (*tree.files, *tree.artifacts) if path.startswith("http/")))


def read_tree_text(text: str) -> TreeDoc:
    """`=== path` lines, each followed by that file's text."""
    parts = re.split(r"^=== (\S+)\n", text, flags=re.MULTILINE)
    return read_tree(Tree({path: body.encode() for path, body in zip(parts[1::2], parts[2::2], strict=True)}))


@check("tree")
def check_urls(doc: TreeDoc) -> Iterator[Finding]:
    """Every URL of a boot script that points at this master."""
    # Without an engine nothing is fetched, so the artifacts are not known: what is not known is not missed.
    fetched = any(path.startswith("http/os/") for path in doc.served)
    for path, text in doc.files.items():
        if not path.endswith(".ipxe"):
            continue
        known = dict(_SET.findall(text))
        base = known.get("base", "")
        for number, line in enumerate(text.split("\n"), 1):
            if not base or not _LOADS.match(line) or "http" not in (line := _expand(line, known)):
                continue
            for match in _URL.finditer(line):
                target = match[0].partition("?")[0].removeprefix(base).lstrip("/")
                if match[0].startswith(base + "/") and not _is_served(doc, target, fetched):
                    yield replace(NOT_SERVED.at(number, 1, f"{match[0][:120]} is not served"), file=path)


def _is_served(doc: TreeDoc, target: str, fetched: bool) -> bool:
    if (
        "${" in target
        or target in ("checkin", "healthz", "")
        or target.startswith(("inventory", "state/", "installed"))
    ):
        return True
    if target.startswith("os/") and not fetched:
        return True
    full = f"http/{target}"
    return full in doc.served or (full.endswith("/") and any(path.startswith(full) for path in doc.served))


def _expand(line: str, known: Mapping[str, str]) -> str:
    for _ in range(4):
        for name, value in known.items():
            line = line.replace(f"${{{name}}}", value)
    return line


@check("tree")
def check_secrets(doc: TreeDoc) -> Iterator[Finding]:
    """default, in every form."""
    for path, text in doc.files.items():
        if not re.match(r"http/(boot|config)/default\b", path):
            continue
        if match := _TOKEN.search(text):
            line = text.count("\n", 0, match.start()) + 1
            told = "what looks like a secret is served to every machine that asks"
            yield replace(SECRET_FOR_ALL.at(line, 1, told), file=path)
