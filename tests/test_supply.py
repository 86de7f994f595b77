"""rack.lock as output of the first fetch and input of every later one, against the server that behaves like GitHub."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_github import INITRD, KERNEL, GitHub, release, sha

from rackctl import supply
from rackctl.adapters.fetch import Store
from rackctl.adapters.fetch.prune import YOUNG, prune
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.lockfile import read_lock, write_lock
from rackctl.core.model import OsRef, os_path
from rackctl.core.render import render_rack
from rackctl.errors import ConfigError, FetchError

RACK = "unknown: boot\nserver: {address: 10.98.101.1}\nos: {name: rancheros, version: v1.5.x}\n"

ARCHES = ("amd64", "arm64")


@pytest.fixture
def rack(tmp_path: Path, hub: GitHub, monkeypatch: pytest.MonkeyPatch) -> RackFolder:
    monkeypatch.setattr(supply, "CACHE", tmp_path / "cache")
    publish(hub, "v1.5.9", "v1.5.10")
    (tmp_path / "rack").mkdir()
    (tmp_path / "rack" / "rack.yml").write_text(RACK)
    return RackFolder(tmp_path / "rack")


def publish(hub: GitHub, *tags: str) -> None:
    hub.releases += [{"tag_name": tag} for tag in tags]
    for tag in tags:
        release(hub, tag)


def fetch_all(rack: RackFolder, os: OsRef | None = None, **more: Any) -> list[supply.Release]:
    return supply.fetch_for_rack(rack, os, more.pop("update", False), lambda _line: None)


def test_the_lock_holds_what_the_wish_meant(rack: RackFolder, hub: GitHub) -> None:
    [found] = fetch_all(rack)
    locked = read_lock(rack.path).find("rancheros", "v1.5.x")
    assert found.version == "v1.5.10" and locked is not None and locked.version == "v1.5.10"
    initrd = locked.artifacts["initrd"]
    assert (initrd.size, initrd.sha256, initrd.trust) == (len(INITRD), sha(INITRD), "published")
    assert initrd.url == f"{hub.url}/dl/v1.5.10/initrd"


def test_with_the_lock_and_a_full_store_nothing_is_asked(rack: RackFolder, hub: GitHub) -> None:
    first = fetch_all(rack)
    publish(hub, "v1.5.11")
    hub.asked.clear()
    assert fetch_all(rack) == first and not hub.asked


def test_with_the_lock_and_an_empty_store_the_same_comes_again(rack: RackFolder, hub: GitHub) -> None:
    [first] = fetch_all(rack)
    publish(hub, "v1.5.11")
    first.artifacts["initrd"].path.unlink()
    hub.asked.clear()
    assert fetch_all(rack) == [first] and not hub.paths("/repos") and len(hub.paths()) == 1


def test_update_moves_the_lock(rack: RackFolder, hub: GitHub) -> None:
    fetch_all(rack)
    publish(hub, "v1.5.11")
    assert fetch_all(rack, update=True)[0].version == "v1.5.11"
    assert fetch_all(rack)[0].version == "v1.5.11"


def test_upstream_that_contradicts_the_lock_stops(rack: RackFolder, hub: GitHub) -> None:
    [first] = fetch_all(rack)
    file = rack.path / "rack.lock"
    file.write_text(file.read_text().replace(sha(INITRD), "b" * 64))
    with pytest.raises(FetchError) as stopped:
        fetch_all(rack)
    assert sha(INITRD) in stopped.value.message and f"rack.lock says {'b' * 64}" in stopped.value.message
    assert first.artifacts["initrd"].path.exists()


def test_a_rack_with_a_machine_of_the_other_processor(rack: RackFolder, hub: GitHub) -> None:
    hub.releases = [{"tag_name": "v1.11.3"}]
    names = [f"vmlinuz-{arch}" for arch in ARCHES] + [f"initramfs-{arch}.xz" for arch in ARCHES]
    contents = {name: name.encode() for name in names}
    hub.files = {f"v1.11.3/{name}": content for name, content in contents.items()}
    sums = "".join(f"{sha(content)}  {name}\n" for name, content in contents.items())
    hub.files["v1.11.3/sha256sum.txt"] = sums.encode()
    nodes = "nodes: {a: {mac: '52:54:00:00:00:01', os: {name: talos, version: v1.11, arch: arm64}}}\n"
    (rack.path / "rack.yml").write_text(RACK.replace("rancheros, version: v1.5.x", "talos, version: v1.11") + nodes)
    found = {one.arch: one for one in fetch_all(rack)}
    assert {arch: one.artifacts["vmlinuz"].path.read_bytes() for arch, one in found.items()} == {
        "amd64": b"vmlinuz-amd64", "arm64": b"vmlinuz-arm64"}  # fmt: skip
    lock = read_lock(rack.path)
    assert [(one.version, one.arch) for one in lock.releases] == [("v1.11.3", "amd64"), ("v1.11.3", "arm64")]
    hub.asked.clear()
    assert {one.arch: one for one in fetch_all(rack)} == found and not hub.asked
    model = rack.read_rack().with_versions({one.key: one.version for one in found.values()})
    digests = {
        os_path(one.os, one.version, one.arch): {name: file.sha256 for name, file in one.artifacts.items()}
        for one in found.values()
    }
    tree = render_rack(model, digests, {}, "p", dict.fromkeys(("tftp", "microhttp"), "x"))
    assert tree.artifacts["http/os/talos/v1.11.3-arm64/initrd"] == sha(b"initramfs-arm64.xz")
    assert tree.artifacts["http/os/talos/v1.11.3/initrd"] == sha(b"initramfs-amd64.xz")
    assert b"/os/talos/v1.11.3-arm64\n" in tree.files["http/boot/52-54-00-00-00-01.ipxe"]
    assert b"/os/talos/v1.11.3\n" in tree.files["http/boot/default.ipxe"]


def test_a_lock_that_lost_a_file_gets_it_back(rack: RackFolder, hub: GitHub) -> None:
    [first] = fetch_all(rack)
    lock = read_lock(rack.path)
    [locked] = lock.releases
    less = locked.model_copy(update={"artifacts": {"vmlinuz": locked.artifacts["vmlinuz"]}})
    write_lock(rack.path, lock.model_copy(update={"releases": (less,)}))
    assert fetch_all(rack) == [first] and read_lock(rack.path) == lock


def test_what_is_served_is_on_the_disk_first(rack: RackFolder, hub: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    [found] = fetch_all(rack)
    files = {str(one.path) for one in found.artifacts.values()}
    assert not files & set(synced), "a fetch does not wait for the disk"
    supply.settle_releases([found])
    assert files <= set(synced)
    synced.clear()
    supply.settle_releases([found])
    assert not synced


def test_prune_lets_be_what_another_rack_has_just_found(rack: RackFolder, hub: GitHub, tmp_path: Path) -> None:
    [found] = fetch_all(rack)
    store = Store(tmp_path / "cache" / "store")
    supply.settle_releases([found])
    later = time.time() + 2 * YOUNG
    assert store.find(sha(INITRD))
    assert prune(store, [], now=time.time() + YOUNG / 2).files == 0
    assert prune(store, [sha(INITRD)], now=later).files >= 1 and store.find(sha(INITRD))
    (store.root / "racks.json").write_text("[")
    with pytest.raises(ConfigError, match="does not list the racks"):
        supply.prune_store(lambda _line: None)
    assert store.find(sha(INITRD))


def test_what_the_rack_does_not_use_is_fetched_and_not_locked(rack: RackFolder, hub: GitHub) -> None:
    [found] = fetch_all(rack, OsRef(name="rancheros", version="v1.5.9"))
    assert found.version == "v1.5.9" and not (rack.path / "rack.lock").exists()


def test_fetch_works_without_a_rack(tmp_path: Path, rack: RackFolder, hub: GitHub) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    argv = [sys.executable, "-c", "from rackctl.cli.app import main; main()", "fetch", "rancheros", "v1.5.x", "--json"]
    (tmp_path / "empty").mkdir()
    done = subprocess.run(argv, env=environment, cwd=tmp_path / "empty", capture_output=True, check=True, text=True)
    [found] = json.loads(done.stdout)
    assert found["version"] == "v1.5.10"
    assert Path(found["artifacts"]["vmlinuz"]["path"]).read_bytes() == KERNEL
    assert not list((tmp_path / "empty").iterdir())


FETCH = """
import sys
from pathlib import Path
from rackctl.adapters.fetch import Store, fetch_file
fetch_file(sys.argv[1], Store(Path(sys.argv[2])), name="big", expect_sha256=sys.argv[3], report=lambda _line: None)
"""


FETCH_ALL = """
import json, sys
from pathlib import Path
import requests
from rackctl.adapters.fetch import Store, fetch_file
print("ready", flush=True)
for url, digest in json.loads(sys.argv[2]):
    fetch_file(url, Store(Path(sys.argv[1])), name="x", expect_sha256=digest, report=lambda _line: None)
"""


def start_fetch(hub: GitHub, store: Store, digest: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", FETCH, f"{hub.url}/dl/big", str(store.root), digest]
    return subprocess.Popen(argv, env={**os.environ, "NO_PROXY": "127.0.0.1"})


def test_killed_at_any_moment_no_wrong_file_is_in_the_store(hub: GitHub, tmp_path: Path) -> None:
    store, wanted = Store(tmp_path / "store"), [os.urandom(400_000 + n) for n in range(6)]
    hub.files = {str(n): content for n, content in enumerate(wanted)}
    names = [[f"{hub.url}/dl/{n}", sha(content)] for n, content in enumerate(wanted)]
    hub.pace = 0.02
    for nth in range(8):
        argv = [sys.executable, "-c", FETCH_ALL, str(store.root), json.dumps(names)]
        child = subprocess.Popen(argv, env={**os.environ, "NO_PROXY": "127.0.0.1"}, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()  # the imports are done
        time.sleep(random.Random(nth).uniform(0, 0.4))
        child.kill()
        child.wait()
        for file in (store.root / "sha256").glob("*"):
            assert sha(file.read_bytes()) == file.name
    hub.pace = 0.0
    subprocess.run([sys.executable, "-c", FETCH_ALL, str(store.root), json.dumps(names)], check=True)
    assert {file.name for file in (store.root / "sha256").iterdir()} == {sha(content) for content in wanted}
    assert not list((store.root / "partial").glob("*.part")) and not (store.root / "bad").exists()


def test_300_mb_killed_five_times_is_whole_and_hardly_fetched_twice(hub: GitHub, tmp_path: Path) -> None:
    block = os.urandom(3_000_000)
    content = b"".join(bytes([n]) + block for n in range(100))
    hub.pace = 0.001
    hub.files["big"], digest, store = content, sha(content), Store(tmp_path / "store")
    part = store.part("", digest)
    kept = []
    for nth in range(1, 6):
        child = start_fetch(hub, store, digest)
        goal = len(content) * nth // 7
        while (part.stat().st_size if part.exists() else 0) < goal:
            assert child.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
        kept.append(part.stat().st_size)
        assert not store.path(digest).exists()
    assert start_fetch(hub, store, digest).wait() == 0
    with open(store.path(digest), "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == digest
    # Each went on where the one before had come to; what was lost with it in socket buffers is the kernel's affair.
    asked = [headers.get("Range") for path, headers in hub.asked if path.startswith("/objects")]
    assert asked == [None, *(f"bytes={size}-" for size in kept)]
