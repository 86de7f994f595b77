"""What a rack has running, serves and uses: everything that `rackctl status` shows, gathered once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters import engine
from rackctl.adapters.folder import RackFolder, folder_bytes
from rackctl.supply import CACHE


@dataclass(frozen=True)
class Status:
    """Sizes in bytes. ports: service -> `address:port/protocol`. memory: service -> its private bytes.

    disk: `tree`, `logs`, `cache` (shared by this user's racks) and `free`. served: the paths that nodes can ask for.
    https_until: the last day of microhttp's certificate, where iPXE loads by HTTPS.
    """

    tree: str | None
    services: tuple[engine.Service, ...]
    ports: dict[str, str]
    memory: dict[str, int]
    disk: dict[str, int]
    served: tuple[str, ...]
    https_until: str | None = None

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {**self.__dict__, "services": [one.to_json() for one in self.services], "served": list(self.served)}


def gather_status(folder: RackFolder) -> Status:
    """Raises ConfigError when rack.yml is wrong, and EngineError."""
    rack = folder.read_rack()
    server = rack.server
    services = tuple(engine.list_services(folder.project))
    memory = {one.service: engine.private_memory(one.id) for one in services if one.state == "running"}
    current = folder.served / "current"
    paths = sorted(str(file.relative_to(current)) for file in current.rglob("*") if file.is_file())
    return Status(
        tree=folder.served_id(),
        services=services,
        ports={"tftp": f"{server.address}:69/udp", "microhttp": f"{server.address}:{server.http_port}/tcp"},
        memory={name: used for name, used in memory.items() if used is not None},
        disk={
            "tree": folder_bytes(folder.served / "trees"),
            "logs": folder_bytes(folder.logs),
            "cache": folder_bytes(CACHE),
            "free": shutil.disk_usage(_nearest(folder.work)).free,
        },
        served=tuple(path for path in paths if path.startswith(("tftp/", "http/"))),
        https_until=_https_until(folder) if rack.ipxe.https else None,
    )


def _https_until(folder: RackFolder) -> str | None:
    from rackctl.adapters.rackca import server_expiry  # cryptography is for those who ask for HTTPS

    found = server_expiry(folder.work)
    return found.isoformat() if found else None


def _nearest(path: Path) -> Path:
    return path if path.exists() else _nearest(path.parent)
