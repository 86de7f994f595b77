"""Adapter: the Docker engine. Brings the generated compose file up and down, and tells what runs."""

from __future__ import annotations

import json
from pathlib import Path

from rackctl.adapters.proc import run
from rackctl.errors import EngineError

SERVICES = ("tftp", "microhttp")
_LEAST_MAJOR = 23  # the first with BuildKit as the default builder and named build contexts
_INSTALL = (
    "install Docker >= 23 with compose v2 and buildx, start it, then run again; in a checkout, make engine does it"
)


def check_engine() -> str:
    """The engine's version. Raises EngineError with the remedy when it cannot run a rack."""
    text = run(["docker", "version", "--format", "{{json .Server}}"], timeout=20, remedy=_INSTALL)
    version = str((json.loads(text) or {}).get("Version", "0"))
    if int(version.split(".")[0]) < _LEAST_MAJOR:
        raise EngineError(f"Docker {version} is older than {_LEAST_MAJOR}", remedy=_INSTALL)
    info = json.loads(run(["docker", "info", "--format", "{{json .}}"], timeout=20))
    if "Docker Desktop" in str(info.get("OperatingSystem", "")):
        raise EngineError(
            "Docker Desktop has no layer 2 network: machines cannot reach TFTP in it",
            remedy="run rackctl in a Linux machine (or a bridged virtual machine) with Docker in it",
        )
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or []):
        raise EngineError(
            "a rootless engine cannot open port 69", remedy="use the system's engine: docker context use default"
        )
    return version


def compose(work: Path, project: str, *words: str) -> bytes:
    """Run a docker compose verb on the generated file in `work`."""
    argv = [
        "docker",
        "compose",
        "-p",
        project,
        "--project-directory",
        str(work),
        "-f",
        str(work / "served/current/compose.yml"),
    ]
    return run([*argv, *words], timeout=120)


def list_services(project: str) -> list[dict[str, str]]:
    """Service, state and status of each container of the project."""
    text = run(
        ["docker", "ps", "-a", "--filter", f"label=com.docker.compose.project={project}", "--format", "{{json .}}"],
        timeout=20,
    )
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        {"id": row["ID"], "service": row["Names"].split("-")[-2], "state": row["State"], "status": row["Status"]}
        for row in rows
    ]


def private_memory(container: str) -> int | None:
    """Anonymous bytes of a container (memory.stat: cgroup v1 `total_rss`, v2 `anon`); None when unreadable."""
    full = run(["docker", "inspect", "--format", "{{.Id}}", container], timeout=10).decode().strip()
    roots = (
        f"/sys/fs/cgroup/memory/docker/{full}",
        f"/sys/fs/cgroup/system.slice/docker-{full}.scope",
        f"/sys/fs/cgroup/docker/{full}",
    )
    for root in roots:
        file = Path(root) / "memory.stat"
        if file.exists():
            values = dict(line.split() for line in file.read_text().splitlines())
            return int(values.get("anon", values.get("total_rss", 0)))
    return None
