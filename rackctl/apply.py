"""The only module that sees several adapters at once: makes what rack.yml asks for true, whole or not at all."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rackctl.adapters import engine, host, imagebuild, inventories, ipxe, lockfile, probe
from rackctl.adapters.bsdp_probe import ask_list
from rackctl.adapters.fetch import Store
from rackctl.adapters.fetch.progress import Progress
from rackctl.adapters.fetch.prune import remember_rack
from rackctl.adapters.fetch.store import hash_file
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.workers import workers
from rackctl.core.config.sources import Inputs
from rackctl.core.dhcp.arch import Loader
from rackctl.core.ipxe.settings import CA_CERTIFICATE
from rackctl.core.lint.run import stop_on_errors
from rackctl.core.lock import RackLock
from rackctl.core.model import Rack, os_path
from rackctl.core.plan import Facts, Plan, compose_sum, make_plan
from rackctl.core.render import render_rack
from rackctl.core.services import services_of
from rackctl.core.statustree import add_findings
from rackctl.core.tree import Tree
from rackctl.dhcp import check_network
from rackctl.errors import BusyError, ServeError
from rackctl.inputs import pin_keys, read_inputs
from rackctl.ipxebuild import add_signed, build_loaders, check_loaders
from rackctl.macbuild import add_mac_loaders
from rackctl.overlays import Overlay, make_overlays
from rackctl.supply import CACHE, Release, lock_releases, settle_releases, supply_release

Report = Callable[[str], None]


@dataclass(frozen=True)
class Up:
    """What `up` did: the id that is served, the steps that led there, and what the router is to say."""

    tree: str
    plan: Plan
    lane: str
    reason: str
    bios_file: str
    efi_file: str

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {**self.__dict__, "plan": self.plan.to_json(), "changed": bool(self.plan.steps)}


def bring_up(
    folder: RackFolder,
    report: Report,
    progress: Progress | None = None,
    other: Mapping[str, Loader] = MappingProxyType({}),
) -> Up:
    """Build and fetch what is missing, side by side, render, publish, start, and prove the service over the wire.

    other: for some nodes another loader than rack.yml says.
    """
    rack = folder.read_rack().with_loaders(other)
    check_loaders(folder, rack)  # before the rest of the work, which may take minutes
    engine.check_engine()
    host.check_address(rack.server.address, lambda: folder.locate("server", "address"))
    if folder.served_id() is None:
        _require_ports(folder, rack)  # before the builds, which take minutes the first time
    with folder.lock():
        lock = pin_keys(rack, lockfile.read_lock(folder.path), report)
        tls = _make_tls(folder, rack, report)
        with workers(4) as pool:
            images = {name: pool.submit(imagebuild.build_image, name, report) for name in services_of(rack)}
            loaders = pool.submit(build_loaders, folder, rack, report)
            supplies = [
                pool.submit(supply_release, os, folder.catalog(), lock, report, progress, folder.own_keys)
                for os in rack.os_releases()
            ]
            build = loaders.result()
            releases = [future.result() for future in supplies]
            tags = {name: future.result() for name, future in images.items()}
        rack = rack.with_versions({one.key: one.version for one in releases})
        overlays, used = make_overlays(folder, rack, releases, lock, report, progress)
        # Only what this rack.yml asks for stays in its lock.
        remember_rack(Store(CACHE / "store"), folder.path)
        kept = RackLock(packages=used.packages, ssh_keys=lock.ssh_keys)
        lockfile.write_lock(folder.path, lock_releases(kept, releases))
        build = add_mac_loaders(folder, rack, add_signed(folder, rack, build, releases), report)
        if any(one.arch == "arm64" for one in releases) and not any("arm64" in name for name in build.files):
            report("iPXE: this lane has none for arm64: such machines get their script and files, and bring an iPXE")
        sources: dict[str, Path] = {one.sha256: one.path for one in overlays.values()}
        inputs = read_inputs(folder, rack, lock)
        again = {node.mac for node in rack.nodes.values() if node.boot == "reinstall"}
        inventories.start_over(folder.installed, folder.work / "state" / "again", again)
        tree = _render(folder, rack, build, releases, overlays, tags, sources, inputs, tls)
        tree = add_findings(tree, stop_on_errors(rack, inputs, folder.catalog(), tree, report))
        plan = make_plan(gather(folder, tree, sources), tree, services_of(rack))
        if plan.has("publish"):
            settle_releases(releases)
        apply_plan(folder, rack, plan, tree, sources, report)
    return Up(tree.id, plan, build.lane, build.reason, build.bios_file, build.efi_file)


def gather(folder: RackFolder, tree: Tree, sources: Mapping[str, Path]) -> Facts:
    """What is so on this machine, for the plan. Raises EngineError."""
    served = folder.served_id()
    damaged = folder.find_damage(tree, sources) if served == tree.id else ()
    services = {one.service: one.state for one in engine.list_services(folder.project)}
    return Facts(served, damaged, services, folder.started)


def apply_plan(
    folder: RackFolder, rack: Rack, plan: Plan, tree: Tree, sources: Mapping[str, Path], report: Report
) -> None:
    """Carry out the steps. Killed at any point, one whole tree is served, and the next plan brings it to an end."""
    if plan.has("start"):
        _require_ports(folder, rack)
        check_network(rack, imagebuild.image_tag("tftp"), report)
    afresh = folder.unmounted
    if plan.steps:
        folder.started = None  # until it is proven: what ends before that is started and proven again by the next up
    if plan.has("publish"):
        folder.publish(tree, sources)
    if plan.has("start"):
        report("starting the services")
        folder.make_folders()
        engine.compose_up(folder.work, folder.project, afresh)
    if plan.has("prove"):
        report(f"reading back what is served at {rack.server.address}")
        _prove(folder, rack, tree)
        folder.started = compose_sum(tree)


def _prove(folder: RackFolder, rack: Rack, tree: Tree) -> None:
    try:
        probe.prove_tree(rack.server.address, rack.server.http_port, tree)
        if rack.ipxe.https:
            probe.prove_https(rack.server.address, rack.ipxe.https.port, (folder.path / CA_CERTIFICATE).read_text())
        if rack.mac.bsdp:
            ask_list(rack.server.address)
    except ServeError as wrong:
        for one in engine.list_services(folder.project):
            if one.state != "running":
                words = engine.last_words(folder.project, one.service, 4)
                raise ServeError(
                    f"the {one.service} container is {one.state}; its last words:\n{words}",
                    wrong.where,
                    f"docker logs {one.id[:12]} has more; rackctl up starts it again",
                ) from wrong
        raise


def _render(
    folder: RackFolder,
    rack: Rack,
    build: ipxe.IpxeBuild,
    releases: list[Release],
    overlays: dict[str, Overlay],
    images: dict[str, str],
    sources: dict[str, Path],
    inputs: Inputs,
    tls: str,
) -> Tree:
    def digests(named: dict[str, Path]) -> dict[str, str]:
        found = {name: hash_file(file) for name, file in named.items()}
        sources.update({found[name]: file for name, file in named.items()})
        return found

    sums = {}
    for one in releases:
        key = os_path(one.os, one.version, one.arch)
        sums[key] = {name: artifact.sha256 for name, artifact in one.artifacts.items()}
        sources.update({artifact.sha256: artifact.path for artifact in one.artifacts.values()})
    added = {machine: (one.name, one.sha256) for machine, one in overlays.items()}
    catalog = folder.catalog()
    return render_rack(rack, sums, digests(build.files), folder.project, images, catalog, inputs, added, tls)


def _make_tls(folder: RackFolder, rack: Rack, report: Report) -> str:
    """microhttp's certificate for iPXE's HTTPS, by the rack's own CA; the first digits of its sha256, or ""."""
    if not rack.ipxe.https:
        return ""
    from rackctl.adapters.rackca import server_tls  # cryptography is for those who ask for HTTPS

    made = server_tls(folder.path, folder.work, rack.server.address)
    report(f"HTTPS: certificate of {rack.server.address} by the rack's CA in secrets/, good until {made.expires}")
    return made.digest


def _require_ports(folder: RackFolder, rack: Rack) -> None:
    """Raises BusyError when somebody else holds a port that the rack needs; what our own services hold is ours."""
    address, http = rack.server.address, rack.server.http_port
    mine = {one.service: one.published for one in engine.list_services(folder.project) if one.state == "running"}
    wanted = [
        ("tftp", 69, socket.SOCK_DGRAM, "stop that server: ROMs ask TFTP on port 69 and no other"),
        ("microhttp", http, socket.SOCK_STREAM, "set another server.http_port in rack.yml"),
    ]
    if rack.ipxe.https:
        remedy = "rack.yml: ipxe: {https: {port: ANOTHER}}"
        wanted.append(("microhttp", rack.ipxe.https.port, socket.SOCK_STREAM, remedy))
    for service, port, kind, remedy in wanted:
        if f"{address}:{port}" in mine.get(service, ()):
            continue
        try:
            host.require_port(address, port, kind, remedy)
        except BusyError as held:
            other = engine.find_rack_on(f"{address}:{port}", folder.project)
            if other is None:
                raise
            remedy = f"rackctl down --rack {other}; or give this rack another address of the master"
            raise BusyError(f"port {port} of {address} serves another rack, that of {other}", remedy=remedy) from held


def bring_down(folder: RackFolder) -> bool:
    """Stop and remove the services; logs and artifacts stay. False when nothing was there. Raises EngineError."""
    if not engine.list_services(folder.project):
        return False
    with folder.lock():
        folder.started = None
        engine.compose_down(folder.work, folder.project)
    return True
