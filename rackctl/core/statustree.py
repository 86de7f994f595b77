"""Core. What the tree holds for the status page: the page, what rack.yml knows, and its container's code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rackctl.assets import find_asset
from rackctl.core.catalog import Catalog
from rackctl.core.config.report import last_stage
from rackctl.core.configmodel import Join
from rackctl.core.events import Stage
from rackctl.core.model import Rack, hyphenate
from rackctl.core.tree import Tree

_PAGE = ("index.html", "page/status.css", "page/status.js", "page/icon.svg")
# The status container runs these as they are here, with the standard library alone.
_CODE = (
    "__init__.py", "statusd.py", "core/__init__.py", "core/events.py", "core/tftplog.py", "core/httplog.py",
    "core/fold.py", "core/timeline.py", "core/diagnosis.py", "core/dhcp/__init__.py", "core/dhcp/arch.py",
    "core/usual.py", "core/inventory.py", "core/nics.py", "core/nics.txt", "core/repeat.py", "core/status.py",
    "adapters/__init__.py", "adapters/logs.py", "adapters/inventories.py", "follow.py",
)  # fmt: skip


def render_status_files(rack: Rack, catalog: Catalog, configs: Collection[str]) -> dict[str, bytes]:
    """Path in the tree -> content. configs: the machines, as in URLs, that get a config."""
    page = find_asset("www")
    files = {f"http/{name}": (page / name).read_bytes() for name in _PAGE}
    names = {node.mac: name for name, node in rack.nodes.items()}
    silent = _find_silent(rack, catalog)
    machines = {"default": None, **{hyphenate(node.mac): node for node in rack.nodes.values()}}
    known = {
        "names": names, "unknown": rack.unknown, "port": rack.server.http_port, "server": rack.server.address,
        "silent": {os: stage.name for os, stage in silent.items()},
        "configured": [key for key, node in machines.items() if key in configs and rack.os_of(node).name in silent],
    }  # fmt: skip
    files["status/known.json"] = json.dumps(known, indent=1).encode()
    if rack.status:
        files |= {f"status/code/rackctl/{name}": content for name, content in read_code().items()}
    return files


def _find_silent(rack: Rack, catalog: Catalog) -> dict[str, Stage]:
    """OS that cannot check in -> the last stage that it tells of without a config."""
    names = {one.name for one in rack.os_releases()}
    stages = {os: last_stage(catalog.get(os), os, Join(), configured=False) for os in sorted(names)}
    return {os: stage for os, stage in stages.items() if Stage.SCRIPT < stage < Stage.CHECKIN}


def add_findings(tree: Tree, findings: Mapping[str, Sequence[str]]) -> Tree:
    """The same with the linter's view of each machine's config, for diagnoses: line -> the machines, as in URLs."""
    lines: dict[str, list[str]] = {}
    for machine, told in sorted(findings.items()):
        for line in told:
            lines.setdefault(line, []).append(machine)
    content = json.dumps(lines, indent=1).encode()
    return replace(tree, files={**tree.files, "status/findings.json": content}) if lines else tree


def read_code() -> dict[str, bytes]:
    """The modules that the status container runs."""
    package = Path(__file__).resolve().parent.parent
    return {name: (package / name).read_bytes() for name in _CODE}


def code_id() -> str:
    """Changes with the code, so that compose starts the container anew."""
    total = hashlib.sha256()
    for name, content in read_code().items():
        total.update(name.encode() + b"\0" + content)
    return total.hexdigest()[:16]
