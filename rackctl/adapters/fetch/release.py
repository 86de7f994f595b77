"""Adapter: the files of one OS release, each from its source, verified as its catalogue entry says, into the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rackctl.adapters.fetch import github
from rackctl.adapters.fetch.apt import read_listed
from rackctl.adapters.fetch.archive import extract_member
from rackctl.adapters.fetch.progress import LineProgress, Progress
from rackctl.adapters.fetch.resolve import Upstream
from rackctl.adapters.fetch.signatures import verify_bytes, verify_file, verify_message
from rackctl.adapters.fetch.store import Artifact, Store, hash_file
from rackctl.adapters.fetch.transfer import fetch_file
from rackctl.adapters.fetch.web import read_page
from rackctl.adapters.workers import workers
from rackctl.core.catalog import Artifact as Wanted
from rackctl.core.lock import LockedArchive, LockedFile, LockedRelease
from rackctl.core.sums import find_sum, parse_sums
from rackctl.errors import FetchError

_AT_ONCE = 4


@dataclass(frozen=True)
class Source:
    """Where one file, or the archive that holds it, comes from, and what it must be."""

    urls: tuple[str, ...]
    sha256: str | None = None
    size: int | None = None
    trust: str = "pinned"
    signature: str = ""
    said_by: str = "upstream"


def fetch_release(upstream: Upstream, locked: LockedRelease | None = None) -> dict[str, Artifact]:
    """Every artifact by its name. upstream: resolved or settled to the locked version.

    locked: what rack.lock says; upstream must not contradict it. Raises FetchError and BusyError.
    """
    store = upstream.store
    lock = locked.artifacts if locked else {}
    wanted = upstream.entry.artifacts
    found = {one.name: known for one in wanted if (known := find_locked(one.name, lock, store))}
    missing = [one for one in wanted if one.name not in found]
    sums = _published_sums(upstream, lock) if missing else {}
    sources = {one.name: _source(upstream, one, sums, lock.get(one.name)) for one in missing}
    groups: dict[tuple[str, ...], list[Wanted]] = {}
    for one in missing:
        groups.setdefault(sources[one.name].urls, []).append(one)

    def bring(group: list[Wanted]) -> list[Artifact]:
        return [_bring(upstream, one, sources[one.name], lock.get(one.name)) for one in group]

    with workers(_AT_ONCE) as pool:
        for artifacts in pool.map(bring, groups.values()):
            found |= {artifact.name: artifact for artifact in artifacts}
    return {one.name: found[one.name] for one in wanted}


def find_locked(name: str, lock: Mapping[str, LockedFile], store: Store) -> Artifact | None:
    """The artifact as the lock knows it, if the store has it."""
    file = lock.get(name)
    path = store.find(file.sha256) if file else None
    if not file or not path:
        return None
    return Artifact(name, path, file.size, file.sha256, file.url, file.trust, file.archive)


def _source(upstream: Upstream, one: Wanted, sums: Mapping[str, str], locked: LockedFile | None) -> Source:
    kind = upstream.entry.index.kind
    if locked and kind in ("package", "json"):
        # Their lists tell of the newest version only: a locked one is asked for by its own URL.
        inner = locked.archive
        sha256, size = (inner.sha256, inner.size) if inner else (locked.sha256, locked.size)
        return Source((locked.url,), sha256, size, locked.trust, said_by="rack.lock")
    if one.package:
        deb = upstream.deb(one.package)
        return Source((deb.url,), deb.sha256, deb.size, "signed", said_by="Packages")
    if one.entry:
        entry = upstream.look_up(one.entry)
        told = [entry.get(key) if isinstance(entry, dict) else None for key in ("location", "sha256", "signature")]
        location, sha256, signature = (word if isinstance(word, str) else "" for word in told)
        if not (location and sha256 and signature):
            wrong = f"no location, sha256 and signature at {upstream.fill(one.entry)}"
            raise FetchError(wrong, upstream.fill(str(upstream.entry.index.url)), "do not trust this list")
        return Source((location,), sha256, None, "signed", signature)
    urls = tuple(github.place(upstream.fill(url)) for url in one.urls)
    signature = github.place(upstream.fill(one.signature)) if one.signature else ""
    published = sums.get(one.name)
    pinned = (locked.archive.sha256 if locked.archive else locked.sha256) if locked else None
    trust = "signed" if signature or _signed_sums(upstream) else "published" if published else "pinned"
    return Source(urls, published or pinned, None, trust, signature, "upstream" if published else "rack.lock")


def _signed_sums(upstream: Upstream) -> bool:
    return bool(upstream.entry.sums and upstream.entry.sums.signature)


def _bring(upstream: Upstream, one: Wanted, source: Source, locked: LockedFile | None) -> Artifact:
    if not source.urls:
        raise FetchError(f"the catalogue tells no source of {one.name}", upstream.name, "rackctl os show tells more")
    file = replace(_fetch_any(upstream, one, source), trust=source.trust)
    if not one.member:
        return file
    member = locked.archive.member if locked and locked.archive else upstream.fill(one.member)
    key = f"sha256:{file.sha256}!{member}"
    digest = locked.sha256 if locked else upstream.store.pinned(key)
    path = upstream.store.find(digest) if digest else None
    if path is None:
        upstream.report(f"{one.name}: unpacking it from {file.url.rpartition('/')[2]}")
        path = _unpack(upstream.store, file.path, member)
        if digest and path.name != digest:
            wrong = f"sha256 of {member} is {path.name}, {'rack.lock' if locked else 'it was'} {digest}"
            raise FetchError(wrong, file.url, "do not trust this mirror; or: rackctl fetch --update")
        if one.listed and not locked:
            _hear_witness(upstream, one, path.name)
        upstream.store.pin(key, path.name)
    archive = LockedArchive(sha256=file.sha256, size=file.size, member=member)
    return Artifact(one.name, path, path.stat().st_size, path.name, file.url, source.trust, archive)


def _hear_witness(upstream: Upstream, one: Wanted, digest: str) -> None:
    """Compare with the list that InRelease vouches for too.

    A mirror that cannot show it is told of, and is no reason to stop: the other chain is whole. Another sum is.
    """
    path, _, name = upstream.fill(one.listed).partition("#")
    if path not in upstream.witnesses:
        try:
            text = read_listed(upstream.suite(), path, upstream.store, upstream.report).decode(errors="replace")
            upstream.witnesses[path] = parse_sums(text)
        except FetchError as silent:
            upstream.report(f"{silent.where}: {silent.message}; verified by the package alone")
            upstream.witnesses[path] = None
    sums = upstream.witnesses[path]
    if sums is not None and sums.get(name) != digest:
        wrong = f"sha256 of {one.name} is {digest}, {path} says {sums.get(name, 'nothing')}"
        raise FetchError(wrong, upstream.suite().url(path), "do not trust this mirror")


def _unpack(store: Store, archive: Path, member: str) -> Path:
    part = store.part(f"{archive.name}!{member}")
    with store.lock(part.with_suffix(".lock")):
        extract_member(archive, member, part)
        return store.keep(part, hash_file(part))


def _fetch_any(upstream: Upstream, one: Wanted, source: Source) -> Artifact:
    """From the first mirror that has it."""
    for nth, url in enumerate(source.urls, 1):
        try:
            return fetch_file(
                url,
                upstream.store,
                name=one.name,
                expect_sha256=source.sha256,
                expect_size=source.size,
                said_by=source.said_by,
                check=_signature_check(upstream, source.signature),
                report=upstream.report,
                progress=_named(upstream),
                # One that was pinned while its catalogue entry knew no signature is not a signed one.
                pin_as=f"{url} signed by {source.signature}" if source.signature else "",
            )
        except FetchError as failed:
            if nth == len(source.urls):
                raise
            upstream.report(f"{one.name}: {failed.where}: {failed.message}; trying the next mirror")
    raise AssertionError("unreachable: the last mirror returns or raises")


def _named(upstream: Upstream) -> Progress:
    """Progress that tells two systems' `initrd` apart."""
    progress = upstream.progress or LineProgress(upstream.report)
    os = f"{upstream.name} {upstream.version}" + ("" if upstream.arch == "amd64" else f" {upstream.arch}")
    return lambda name, done, total: progress(f"{os} {name}", done, total)


def _signature_check(upstream: Upstream, url: str) -> Callable[[Path], object] | None:
    if not url:
        return None
    return lambda file: verify_file(file, read_page(url, upstream.pages).body, upstream.certs(), url)


def _published_sums(upstream: Upstream, lock: Mapping[str, LockedFile]) -> dict[str, str]:
    """Artifact name -> upstream's sum of it, or of the archive it is in. Raises FetchError when rack.lock differs."""
    entry = upstream.entry
    if not entry.sums:
        return {}
    if entry.sums.since and _before(upstream.version, entry.sums.since):
        upstream.report(f"{upstream.name} {upstream.version} publishes no sums: pinned on first use")
        return {}
    url = github.place(upstream.fill(entry.sums.url))
    try:
        published = _read_sums(upstream, url)
    except FetchError as lost:
        if "404" in lost.message and all(one.name in lock for one in entry.artifacts):
            upstream.report(f"{upstream.name} {upstream.version} publishes no sums any more: rack.lock's are used")
            return {}
        raise
    for name, file in lock.items():
        locked = file.archive.sha256 if file.archive else file.sha256
        if published.get(name, locked) != locked:
            raise FetchError(
                f"upstream's sha256 of {name} is {published[name]}, rack.lock says {locked}",
                url,
                "do not trust this mirror; if upstream meant it: rackctl fetch --update",
            )
    return published


def _read_sums(upstream: Upstream, url: str) -> dict[str, str]:
    """The list, its signature verified. One that belongs to a single version never changes, and is kept for good."""
    sums = upstream.entry.sums
    if sums and "{version}" in sums.url:
        kept = fetch_file(
            url,
            upstream.store,
            name=url.rpartition("/")[2],
            check=lambda part: _trusted_sums(upstream, url, part.read_bytes()),
            report=upstream.report,
        )
        return _trusted_sums(upstream, url, kept.path.read_bytes())
    return _trusted_sums(upstream, url, read_page(url, upstream.pages).body)


def _trusted_sums(upstream: Upstream, url: str, body: bytes) -> dict[str, str]:
    """Artifact name -> sum. Raises FetchError for a bad signature, and when one of ours is not in the list."""
    entry = upstream.entry
    signature = entry.sums.signature if entry.sums else None
    if signature == "inline":
        body = verify_message(body, upstream.certs(), url)
    elif signature:
        where = github.place(upstream.fill(signature))
        verify_bytes(body, read_page(where, upstream.pages).body, upstream.certs(), where)
    try:
        listed = parse_sums(body.decode(errors="replace"))
    except ValueError as wrong:
        raise FetchError(str(wrong), url, "do not trust this release") from wrong
    found = {one.name: find_sum(listed, url, github.place(upstream.fill(one.urls[0]))) for one in entry.artifacts}
    if missing := [name for name, digest in found.items() if digest is None]:
        said = f"no sha256 line for {' and '.join(missing)}"
        raise FetchError(said, url, "upstream is late with it: try again later")
    return {name: digest for name, digest in found.items() if digest}


def _before(version: str, since: str) -> bool:
    def key(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text.partition("-")[0])]

    return key(version) < key(since)
