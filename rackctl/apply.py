"""The only module that sees several adapters at once: makes what rack.yml asks for true, whole or not at all."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters import engine, host, imagebuild, ipxe, lockfile, probe
from rackctl.adapters.fetch.progress import Progress
from rackctl.adapters.folder import RackFolder
from rackctl.core.lock import RackLock
from rackctl.core.model import Rack
from rackctl.core.render import render_embed, render_rack
from rackctl.core.tree import Tree
from rackctl.supply import CACHE, Release, lock_releases, supply_release

Report = Callable[[str], None]


@dataclass(frozen=True)
class Up:
    """What `up` did: the id that is served, whether anything changed, and what the router is to say."""

    tree: str
    changed: bool
    lane: str
    reason: str
    bios_file: str
    efi_file: str


def _sha256(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def build_loaders(rack: Rack, report: Report) -> ipxe.IpxeBuild:
    """The iPXE binaries with this rack's script."""
    return ipxe.build_ipxe(render_embed(rack), CACHE / "ipxe-out", CACHE, rack.ipxe, report)


def bring_up(folder: RackFolder, report: Report, progress: Progress | None = None) -> Up:
    """Build and fetch what is missing, side by side, render, publish, start, and prove the service over the wire."""
    rack = folder.read_rack()
    engine.check_engine()
    host.check_address(rack.server.address)
    if folder.served_id() is None:
        _require_ports(folder, rack)  # before the builds, which take minutes the first time
    with folder.lock():
        lock = lockfile.read_lock(folder.path)
        with ThreadPoolExecutor(max_workers=4) as pool:
            images = {name: pool.submit(imagebuild.build_image, name, report) for name in engine.SERVICES}
            loaders = pool.submit(build_loaders, rack, report)
            supplies = [
                pool.submit(supply_release, os, folder.catalog(), lock, report, progress, folder.own_keys)
                for os in rack.os_releases()
            ]
            build = loaders.result()
            releases = [future.result() for future in supplies]
            tags = {name: future.result() for name, future in images.items()}
        # Only what this rack.yml asks for stays in its lock.
        lockfile.write_lock(folder.path, lock_releases(RackLock(), releases))
        rack = rack.with_versions({(one.os, one.wanted): one.version for one in releases})
        sources: dict[str, Path] = {}
        tree = _render(folder, rack, build, releases, tags, sources)
        changed = folder.served_id() != tree.id
        if changed or not _all_running(folder):
            _require_ports(folder, rack)
            folder.publish(tree, sources)
            engine.compose(folder.work, folder.project, "up", "-d", "--remove-orphans")
            _prove(rack, tree)
            changed = True
    return Up(tree.id, changed, build.lane, build.reason, build.bios_file, build.efi_file)


def _render(
    folder: RackFolder,
    rack: Rack,
    build: ipxe.IpxeBuild,
    releases: list[Release],
    images: dict[str, str],
    sources: dict[str, Path],
) -> Tree:
    def digests(named: dict[str, Path]) -> dict[str, str]:
        found = {name: _sha256(file) for name, file in named.items()}
        sources.update({found[name]: file for name, file in named.items()})
        return found

    sums = {}
    for one in releases:
        key = f"{one.os}/{one.version}"
        sums[key] = {name: artifact.sha256 for name, artifact in one.artifacts.items()}
        sources.update({artifact.sha256: artifact.path for artifact in one.artifacts.values()})
    return render_rack(rack, sums, digests(build.files), folder.project, images, folder.catalog())


def _all_running(folder: RackFolder) -> bool:
    running = {row["service"] for row in engine.list_services(folder.project) if row["state"] == "running"}
    return running.issuperset(engine.SERVICES)


def _require_ports(folder: RackFolder, rack: Rack) -> None:
    if engine.list_services(folder.project):
        return
    host.require_port(
        rack.server.address, 69, socket.SOCK_DGRAM, "stop that server: ROMs ask TFTP on port 69 and no other"
    )
    host.require_port(
        rack.server.address, rack.server.http_port, socket.SOCK_STREAM, "set another server.http_port in rack.yml"
    )


def _prove(rack: Rack, tree: Tree) -> None:
    """Read every loader by TFTP and every script and artifact by HTTP from the address that nodes will use."""
    address, port = rack.server.address, rack.server.http_port
    probe.wait_http(address, port)
    for path, digest in tree.artifacts.items():
        kind, name = path.split("/", 1)
        content = probe.read_tftp(address, name) if kind == "tftp" else probe.read_http(address, port, "/" + name)
        probe.prove_same(path, content, digest)
    for path, rendered in tree.files.items():
        if path.startswith("http/"):
            content = probe.read_http(address, port, path.removeprefix("http"))
            probe.prove_same(path, content, hashlib.sha256(rendered).hexdigest())


def bring_down(folder: RackFolder) -> None:
    """Stop and remove the services; logs and artifacts stay."""
    if folder.served_id():
        with folder.lock():
            engine.compose(folder.work, folder.project, "down")
