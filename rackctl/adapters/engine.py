"""Adapter: the Docker engine. Brings the generated compose file up and down, and tells what runs.

python-on-whales speaks compose, which the engine's API does not have; the docker SDK answers questions in milliseconds,
where each call of the docker program costs a process.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackctl.adapters.proc import run
from rackctl.errors import EngineError

if TYPE_CHECKING:
    import docker
    from python_on_whales import DockerClient

SERVICES = ("tftp", "microhttp")
_LEAST_MAJOR = 23  # the first with BuildKit as the default builder and named build contexts
_INSTALL = (
    "install Docker >= 23 with compose v2 and buildx, start it, then run again; in a checkout, make engine does it"
)


@dataclass(frozen=True)
class Service:
    """One container of a rack.

    state: `running`, `exited`...; health: `healthy`, `starting`, `unhealthy` or ``; published: `address:port` on the
    master; of a container in the host's own network, what its label says that it listens on.
    """

    id: str
    service: str
    state: str
    health: str
    image: str
    started: str
    published: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return dict(self.__dict__)


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


def compose_up(work: Path, project: str, afresh: bool = False) -> None:
    """Start the services of the published compose file, or change those that differ. Raises EngineError.

    afresh: replace the containers that are there, whatever compose holds of them.
    """
    with _compose(work, project) as client:
        client.compose.up(detach=True, remove_orphans=True, quiet=True, force_recreate=afresh)


def compose_down(work: Path, project: str) -> None:
    """Stop and remove the services, and the project's network. Raises EngineError."""
    with _compose(work, project) as client:
        client.compose.down(remove_orphans=True, quiet=True)


@contextmanager
def _compose(work: Path, project: str) -> Iterator[DockerClient]:
    from python_on_whales import DockerClient
    from python_on_whales.exceptions import DockerException

    file = work / "served/current/compose.yml"
    client = DockerClient(
        compose_files=[file] if file.exists() else [],
        compose_project_name=project,
        compose_project_directory=work,
    )
    try:
        yield client
    except DockerException as wrong:
        tail = "\n".join((wrong.stderr or str(wrong)).strip().splitlines()[-12:])
        raise EngineError(f"docker compose failed: {tail}", str(file), "mend what it names, then rackctl up") from wrong


@contextmanager
def _api() -> Iterator[docker.DockerClient]:
    import docker
    from docker.context import ContextAPI
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        # The same engine that the docker program talks to: DOCKER_HOST, else the context in use.
        host = os.environ.get("DOCKER_HOST") or ContextAPI.get_current_context().Host
        client = docker.DockerClient(base_url=host, timeout=20)
        try:
            yield client
        finally:
            client.close()
    except (DockerException, RequestException) as wrong:
        raise _no_engine(str(wrong)) from wrong


def list_services(project: str) -> list[Service]:
    """Each container of the project, sorted by service. Raises EngineError."""
    with _api() as client:
        label = f"com.docker.compose.project={project}"
        found = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        return sorted((_service(one.attrs) for one in found), key=lambda s: s.service)


def find_rack_on(place: str, other_than: str) -> Path | None:
    """The folder of another project's running rack that listens on `address:port`. Raises EngineError."""
    with _api() as client:
        # Each is looked at by itself, and one that ends meanwhile (an audit's, a machine's) is no fault of the engine.
        for one in client.containers.list(filters={"label": "org.rackctl.role"}, ignore_removed=True):
            labels = one.attrs["Config"]["Labels"]
            work = labels.get("com.docker.compose.project.working_dir")
            if work and labels["com.docker.compose.project"] != other_than and place in _service(one.attrs).published:
                return Path(work).parent
    return None


def _service(attributes: dict[str, Any]) -> Service:
    state, config = attributes["State"], attributes["Config"]
    bound = [
        f"{one['HostIp']}:{one['HostPort']}"
        for bindings in (attributes["HostConfig"].get("PortBindings") or {}).values()
        for one in bindings or []
    ]
    return Service(
        id=attributes["Id"],
        service=config["Labels"].get("com.docker.compose.service", "?"),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        image=config["Image"],
        started=state["StartedAt"],
        published=tuple(bound or config["Labels"].get("org.rackctl.listens", "").split()),
    )


def private_memory(container: str) -> int | None:
    """Bytes that are a container's own (memory.stat: `anon`, in cgroup v1 `total_rss`); None when it does not run."""
    with _api() as client:
        stats = client.api.stats(container, stream=False, one_shot=True).get("memory_stats", {}).get("stats", {})
    found = stats.get("anon", stats.get("total_rss"))
    return None if found is None else int(found)


def last_words(project: str, service: str, lines: int = 8) -> str:
    """The last lines of a service's output."""
    for one in list_services(project):
        if one.service == service:
            with _api() as client:
                return str(client.containers.get(one.id).logs(tail=lines).decode(errors="replace")).strip()
    return ""
