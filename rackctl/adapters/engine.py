"""Adapter: the Docker engine. Brings the generated compose file up and down, and tells what runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from rackctl.adapters.proc import run
from rackctl.errors import EngineError

SERVICES = ("tftp", "microhttp")
_LEAST_MAJOR = 23  # the first with BuildKit as the default builder and named build contexts
_INSTALL = (
    "install Docker >= 23 with compose v2 and buildx, start it, then run again; in a checkout, make engine does it"
)


def check_engine() -> str:
    """The engine's version. Raises EngineError with the remedy when it cannot run a rack."""
    text = _ask(["docker", "info", "--format", "{{json .}}"])
    try:
        info = json.loads(text)
    except ValueError as wrong:
        raise EngineError("docker info prints no JSON: is this Docker's own command?", remedy=_INSTALL) from wrong
    if errors := info.get("ServerErrors"):
        raise _no_engine(" ".join(map(str, errors)))
    version = str(info.get("ServerVersion") or "")
    _refuse_kind(info, version)
    major = re.match(r"\d+", version)
    if major and int(major[0]) < _LEAST_MAJOR:
        raise EngineError(f"Docker {version} is older than {_LEAST_MAJOR}", remedy=_INSTALL)
    plugins = {plugin.get("Name") for plugin in (info.get("ClientInfo") or {}).get("Plugins") or []}
    for name, called in (("compose", "compose v2"), ("buildx", "buildx")):
        if name not in plugins:
            raise EngineError(f"docker has no {called}", remedy=_INSTALL)
    return version


def _refuse_kind(info: dict[str, Any], version: str) -> None:
    if "Docker Desktop" in str(info.get("OperatingSystem", "")):
        raise EngineError(
            "Docker Desktop has no layer 2 network: machines cannot reach TFTP in it",
            remedy="run rackctl in a Linux machine (or a bridged virtual machine) with Docker in it",
        )
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or []):
        raise EngineError(
            "a rootless engine cannot open port 69", remedy="use the system's engine: docker context use default"
        )
    if not version:
        raise EngineError("the docker command here is not Docker's (Podman's, perhaps)", remedy=_INSTALL)


def _ask(argv: list[str]) -> bytes:
    """Ask the engine something that any engine answers at once. Raises EngineError that tells why it does not."""
    try:
        return run(argv, timeout=20, remedy=_INSTALL)
    except EngineError as silent:
        if "is not installed" in silent.message:
            raise
        raise _no_engine(silent.message) from silent


def _no_engine(said: str) -> EngineError:
    where = os.environ.get("DOCKER_HOST", "")
    if "permission denied" in said.lower():
        remedy = "run as root, or join the group docker: sudo usermod -aG docker $USER, then log in again"
        return EngineError("this user may not speak with the Docker engine", where, remedy)
    return EngineError(f"the Docker engine does not answer: {said.strip().splitlines()[-1]}", where, _INSTALL)


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
    text = _ask(
        ["docker", "ps", "-a", "--filter", f"label=com.docker.compose.project={project}", "--format", "{{json .}}"]
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
