"""Adapter: Debian packages by their chain of trust: keyring -> InRelease -> Packages -> .deb.

The mirror is the one that this machine's apt uses, or the base image's where there is no apt; RACKCTL_DEBIAN_MIRROR
names another.
"""

from __future__ import annotations

import datetime
import lzma
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.fetch.signatures import verify_message
from rackctl.adapters.fetch.store import Store
from rackctl.adapters.fetch.transfer import fetch_file
from rackctl.adapters.fetch.web import read_page
from rackctl.adapters.proc import run
from rackctl.core.debian import Listed, find_package, judge_dates, parse_release, parse_sources
from rackctl.errors import EngineError, FetchError

if TYPE_CHECKING:
    from pysequoia import Cert

APT = Path("/etc/apt")
BASE_IMAGE = "debian:trixie-slim"
_COMPONENT = "main"
_FIRMWARE = "non-free-firmware"  # under the same signature, whether or not this machine's apt takes from it


@dataclass(frozen=True)
class Deb:
    """One package as Packages tells of it; size in bytes."""

    version: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Suite:
    """One suite of one mirror, whose InRelease was verified."""

    mirror: str
    name: str
    listed: dict[str, Listed]

    def url(self, path: str) -> str:
        """Where a file that InRelease lists lies."""
        return f"{self.mirror}/dists/{self.name}/{path}"


def find_mirror(suite: str) -> str:
    """URL of the archive that has the suite. Raises FetchError when nothing names one."""
    if named := os.environ.get("RACKCTL_DEBIAN_MIRROR"):
        return named.rstrip("/")
    texts = [file.read_text(errors="replace") for file in _apt_files()] or [_base_image_sources()]
    sources = [
        one
        for text in texts
        for one in parse_sources(text)
        if one.uri.startswith("http") and one.uri.rpartition("/")[2] == "debian" and _COMPONENT in one.components
    ]
    for one in sources:
        if suite in one.suites:
            return one.uri
    if sources:
        return sources[0].uri
    raise FetchError("apt's configuration names no Debian mirror", str(APT), "export RACKCTL_DEBIAN_MIRROR=http://...")


def _apt_files() -> list[Path]:
    folder = APT / "sources.list.d"
    files = [APT / "sources.list", *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    return [file for file in files if file.is_file()]


def _base_image_sources() -> str:
    argv = ["docker", "run", "--rm", "--network=none", BASE_IMAGE, "cat", "/etc/apt/sources.list.d/debian.sources"]
    try:
        return run(argv, timeout=60).decode(errors="replace")
    except EngineError as absent:
        remedy = "export RACKCTL_DEBIAN_MIRROR=http://..."
        raise FetchError("this machine has no apt, and the base image cannot be asked", remedy=remedy) from absent


def open_suite(suite: str, certs: Sequence[Cert], store: Store) -> Suite:
    """Read and verify the suite's InRelease. Raises FetchError."""
    mirror = find_mirror(suite)
    url = f"{mirror}/dists/{suite}/InRelease"
    content = verify_message(read_page(url, store.root / "pages").body, certs, url)
    fields, listed = parse_release(content.decode(errors="replace"))
    if suite not in (fields.get("Codename"), fields.get("Suite")):
        wrong = f"it is signed for {fields.get('Codename')}, not for {suite}"
        raise FetchError(wrong, url, "do not trust this mirror")
    if wrong := judge_dates(fields, datetime.datetime.now(datetime.UTC)):
        remedy = "look at this machine's clock; is it right, then the mirror is behind: export RACKCTL_DEBIAN_MIRROR"
        raise FetchError(wrong, url, remedy)
    return Suite(mirror, suite, listed)


def read_listed(suite: Suite, path: str, store: Store, report: Report, progress: Progress | None = None) -> bytes:
    """A file that InRelease lists. Raises FetchError: a mirror that has other bytes under this name is behind."""
    if path not in suite.listed:
        raise FetchError(f"InRelease lists no {path}", suite.url("InRelease"), "is the suite that old?")
    wanted, url = suite.listed[path], suite.url(path)
    try:
        found = fetch_file(
            url,
            store,
            name=path.rpartition("/")[2],
            expect_sha256=wanted.sha256,
            expect_size=wanted.size,
            said_by="InRelease",
            report=report,
            progress=progress,
        )
    except FetchError as wrong:
        if wrong.message.startswith(("sha256 is", "wrong size")):
            remedy = "wait until it has caught up, or export RACKCTL_DEBIAN_MIRROR=http://..."
            raise FetchError(f"the mirror is behind: {wrong.message}", url, remedy) from wrong
        raise
    return found.path.read_bytes()


def find_deb(
    suite: Suite, package: str, arch: str, store: Store, report: Report, progress: Progress | None = None
) -> Deb:
    """The package's place and sum. Raises FetchError when the suite has none of that name."""
    for component in (_COMPONENT, _FIRMWARE):
        path = f"{component}/binary-{arch}/Packages.xz"
        if path not in suite.listed:
            continue
        packed = read_listed(suite, path, store, report, progress)
        try:
            stanza = find_package(lzma.decompress(packed).decode(errors="replace"), package)
        except lzma.LZMAError as wrong:
            raise FetchError(f"broken Packages.xz: {wrong}", suite.mirror, "fetch it again") from wrong
        if stanza:
            return _deb(suite, stanza)
    raise FetchError(f"{suite.name} has no package {package}", suite.mirror, "rackctl os show tells the versions")


def _deb(suite: Suite, stanza: dict[str, str]) -> Deb:
    try:
        return Deb(stanza["Version"], f"{suite.mirror}/{stanza['Filename']}", int(stanza["Size"]), stanza["SHA256"])
    except (KeyError, ValueError) as wrong:
        lacks = f"Packages tells no {wrong} of {stanza.get('Package')}" if isinstance(wrong, KeyError) else str(wrong)
        raise FetchError(lacks, suite.mirror, "do not trust this mirror") from wrong
