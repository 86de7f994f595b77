"""Core. What the tree holds for the status page: the page, what rack.yml knows, and its container's code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rackctl.assets import find_asset
from rackctl.core.model import Rack

_PAGE = ("index.html", "page/status.css", "page/status.js", "page/icon.svg")
# The status container runs these as they are here, with the standard library alone.
_CODE = (
    "__init__.py", "statusd.py", "core/__init__.py", "core/events.py", "core/tftplog.py", "core/httplog.py",
    "core/fold.py", "core/timeline.py", "core/diagnosis.py", "core/dhcp/__init__.py", "core/dhcp/arch.py",
    "core/usual.py", "core/inventory.py", "core/nics.py", "core/nics.txt", "core/repeat.py", "core/status.py",
    "adapters/__init__.py", "adapters/logs.py", "adapters/inventories.py", "follow.py",
)  # fmt: skip


def render_status_files(rack: Rack) -> dict[str, bytes]:
    """Path in the tree -> content."""
    page = find_asset("www")
    files = {f"http/{name}": (page / name).read_bytes() for name in _PAGE}
    names = {node.mac: name for name, node in rack.nodes.items()}
    known = {"names": names, "unknown": rack.unknown, "port": rack.server.http_port, "server": rack.server.address}
    files["status/known.json"] = json.dumps(known, indent=1).encode()
    if rack.status:
        files |= {f"status/code/rackctl/{name}": content for name, content in read_code().items()}
    return files


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
