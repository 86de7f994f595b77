"""Adapter: RancherOS from its GitHub releases."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rackctl.adapters.fetch.github import list_releases
from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.fetch.store import Artifact, Store
from rackctl.adapters.fetch.transfer import fetch_file
from rackctl.core.versions import choose_newest, is_wish, numbers
from rackctl.errors import FetchError

NAMES = ("vmlinuz", "initrd")
_REPOSITORY = "rancher/os"
_DOWNLOADS = "https://github.com/rancher/os/releases/download"
_FIRST_SUMS = (1, 5, 2)  # v1.5.0 and v1.5.1 have iso-checksums.txt only, which leaves vmlinuz and initrd out
_VERSION = re.compile(r"v?(\d{1,4}\.\d{1,4}\.(?:\d{1,4}(?:-rc\d{1,3})?|x))")
_SUM_LINE = re.compile(r"sha256: ([0-9a-f]{64})  (\S+)")  # checksums.txt of rancher/os, scripts/checksums


def parse_checksums(text: str) -> dict[str, str]:
    """File name -> sha256 of RancherOS' checksums.txt (`sha256: <hex>  <name>`; its md5 lines are left out).

    Raises ValueError when one name has two sums.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        if (match := _SUM_LINE.fullmatch(line.strip())) and found.setdefault(match[2], match[1]) != match[1]:
            raise ValueError(f"two sums for {match[2]}")
    return found


def resolve_rancheros(version: str, api_url: str = "") -> str:
    """The exact tag of `v1.5.8`, `1.5.8` (both without the network) or `v1.5.x`. Raises FetchError."""
    found = _VERSION.fullmatch(version)
    if not found:
        raise FetchError(f"{version!r} is no RancherOS version", "rancheros", "v1.5.8 or v1.5.x, for example")
    if not is_wish(version):
        return f"v{found[1]}"
    tag = choose_newest(version, list_releases(_REPOSITORY, api_url))
    if tag is None:
        raise FetchError(f"no release is a {version}", _REPOSITORY, "the last ones are v1.5.x")
    return tag


def fetch_rancheros(
    version: str,
    store: Store,
    *,
    report: Report = print,
    progress: Progress | None = None,
    pins: Mapping[str, str] | None = None,
    base_url: str = "",
    api_url: str = "",
) -> dict[str, Artifact]:
    """`vmlinuz` and `initrd` of one release, by name.

    pins: name -> sha256 from rack.lock; upstream must not contradict them. base_url (or the environment's
    RACKCTL_GITHUB_URL) is where `<tag>/<name>` lie, api_url (or RACKCTL_GITHUB_API) where the releases are listed.
    Raises FetchError and BusyError.
    """
    tag = resolve_rancheros(version, api_url)
    base = f"{(base_url or os.environ.get('RACKCTL_GITHUB_URL') or _DOWNLOADS).rstrip('/')}/{tag}"
    pins = pins or {}
    if all(name in pins and store.find(pins[name]) for name in NAMES):
        published: Mapping[str, str] = {}
    else:
        published = _published_sums(f"{base}/checksums.txt", tag, store, pins, report)
    for name, sha256 in published.items():
        if pins.get(name, sha256) != sha256:
            raise FetchError(
                f"upstream's sha256 of {name} is {sha256}, rack.lock says {pins[name]}",
                f"{base}/checksums.txt",
                "do not trust this mirror; if upstream meant it: rackctl fetch --update",
            )

    def bring(name: str) -> Artifact:
        said_by = "upstream" if name in published else "rack.lock"
        found = fetch_file(
            f"{base}/{name}",
            store,
            name=name,
            expect_sha256=published.get(name) or pins.get(name),
            said_by=said_by,
            report=report,
            progress=progress,
        )
        trust = "published" if name in published else "pinned"
        return Artifact(name, found.path, found.size, found.sha256, found.url, trust)

    with ThreadPoolExecutor(max_workers=len(NAMES)) as pool:
        return dict(zip(NAMES, pool.map(bring, NAMES), strict=True))


def _published_sums(url: str, tag: str, store: Store, pins: Mapping[str, str], report: Report) -> Mapping[str, str]:
    """Upstream's sums of our files; none for the releases that have none, and for one that lost them but is locked."""
    version = numbers(tag.partition("-")[0])
    if version is not None and version < _FIRST_SUMS:
        report(f"rancheros {tag} publishes no sums: pinned on first use")
        return {}
    try:
        file = fetch_file(url, store, name="checksums.txt", check=lambda part: _parse(part, url), report=report)
    except FetchError as lost:
        if "404" in lost.message and all(name in pins for name in NAMES):
            report(f"rancheros {tag} publishes no sums any more: rack.lock's are used")
            return {}
        raise
    sums = _parse(file.path, url)
    return {name: sums[name] for name in NAMES}


def _parse(file: Path, url: str) -> dict[str, str]:
    try:
        sums = parse_checksums(file.read_text(errors="replace"))
    except ValueError as wrong:
        raise FetchError(str(wrong), url, "do not trust this release") from wrong
    if missing := [name for name in NAMES if name not in sums]:
        raise FetchError(
            f"no sha256 line for {' and '.join(missing)}", url, "upstream is late with it: try again later"
        )
    return sums
