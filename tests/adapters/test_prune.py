"""The store loses what no rack needs, the rate holds, and a bundle is taken only whole."""

import errno
import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from fake_github import KERNEL, GitHub, sha

from rackctl import bundle, supply
from rackctl.adapters.fetch import Store, fetch_file
from rackctl.adapters.fetch.prune import prune, read_racks, remember_rack
from rackctl.adapters.fetch.rate import Rate, parse_rate
from rackctl.adapters.folder import RackFolder
from rackctl.core.lock import RackLock, render_lock
from rackctl.errors import ConfigError, FetchError


def later() -> float:
    """When nothing that is here now is young any more."""
    return time.time() + 7200


def test_what_a_lock_names_stays_and_the_rest_goes(hub: GitHub, tmp_path: Path) -> None:
    hub.files |= {"a": b"wanted", "b": b"unwanted"}
    store = Store(tmp_path)
    for name in ("a", "b"):
        fetch_file(f"{hub.url}/objects/{name}", store, name=name, report=lambda _line: None)
    assert prune(store, {sha(b"wanted")}).files == 0, "young files stay"
    gone = prune(store, {sha(b"wanted")}, later())
    assert (gone.files, gone.nbytes) == (1, len(b"unwanted")) and store.find(sha(b"wanted"))


def test_a_download_that_somebody_works_on_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    part = store.part("http://h/x")
    part.write_bytes(b"half")
    with store.lock(part.with_suffix(".lock")):
        prune(store, set(), later())
        assert part.exists()
    assert prune(store, set(), later()).files == 1 and not part.exists()


def test_racks_are_noted_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    remember_rack(store, Path("/r"))
    remember_rack(store, Path("/r"))
    assert read_racks(store) == ["/r"]


def test_a_store_that_one_may_only_read_needs_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Store, "lock", refuse)  # root may write anywhere but to a file system that is mounted so
    remember_rack(Store(tmp_path), tmp_path / "a")
    assert read_racks(Store(tmp_path)) == []


@pytest.mark.parametrize(("text", "rate"), [("500K", 512_000), ("2.5m", 2_621_440), ("100", 100)])
def test_rates_are_read_as_curl_reads_them(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "fast", "-1", "5T"])
def test_other_rates_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no rate"):
        parse_rate(text)


def test_a_cap_slows_the_download(hub: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["k"] = KERNEL
    monkeypatch.setenv("RACKCTL_LIMIT_RATE", "700K")
    start = time.monotonic()
    fetch_file(f"{hub.url}/objects/k", Store(tmp_path), name="k", report=lambda _line: None)
    assert time.monotonic() - start > 0.8 * len(KERNEL) / parse_rate("700K")
    assert Rate(1000).chunk == 4096


LOCK = ("rack.lock", render_lock(RackLock()).encode())


def make_bundle(file: Path, files: dict[str, bytes], sums: dict[str, str] | None = None, **more: object) -> Path:
    named = sums if sums is not None else {name: sha(content) for name, content in files.items()}
    manifest = {"format": 1, "rackctl": "0", "images": [], "files": named} | more
    with tarfile.open(file, "w") as tar:
        for name, content in [
            ("manifest.json", json.dumps(manifest).encode()),
            LOCK,
            *files.items(),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RackFolder:
    for module in (bundle, supply):
        monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(bundle.engine, "check_engine", lambda: "27")
    (tmp_path / "rack").mkdir()
    return RackFolder(tmp_path / "rack")


def load(file: Path, rack: RackFolder) -> bundle.Bundle:
    return bundle.load_bundle(file, rack, lambda _line: None)


def test_a_good_bundle_lands_in_the_cache(tmp_path: Path, rack: RackFolder) -> None:
    file = make_bundle(tmp_path / "b", {"cache/store/sha256/x": b"kernel", "cache/ipxe-out/k/ipxe.efi": b"efi"})
    assert load(file, rack).files == 2 and load(file, rack).files == 2
    assert (tmp_path / "cache/store/sha256/x").read_bytes() == b"kernel"


@pytest.mark.parametrize(
    ("files", "sums", "says"),
    [
        ({"cache/overlays/a": b"evil"}, {"cache/overlays/a": sha(b"good")}, "the manifest says"),
        ({"cache/a": b"1", "cache/b": b"2"}, {"cache/b": sha(b"2")}, "does not name"),
        ({"cache/store/pins.json": b"{}"}, None, "belongs nowhere"),
        ({"cache/store": b""}, None, "belongs nowhere"),
        ({"cache/overlays/a": b"1"}, {"cache/overlays/a": 1}, "not of this form"),
        ({"cache/../../a": b"1"}, None, "does not name"),
        ({"/etc/a": b"1"}, None, "does not name"),
        ({"etc/a": b"1"}, None, "belongs nowhere"),
        ({}, {"cache/a": sha(b"1")}, "it lacks cache/a"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_is_refused(
    tmp_path: Path, rack: RackFolder, files: dict[str, bytes], sums: dict[str, str] | None, says: str
) -> None:
    with pytest.raises(FetchError, match=says):
        load(make_bundle(tmp_path / "b", files, sums), rack)
    assert not (tmp_path / "cache/a").exists() and not (tmp_path / "a").exists()


def archive_of(tags: list[str], index: list[str]) -> bytes:
    """An archive of images as docker save writes it: here its two lists of tags alone."""
    notes = [{"annotations": {"io.containerd.image.name": tag}} for tag in index]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, told in (("manifest.json", [{"RepoTags": tags}]), ("index.json", {"manifests": notes})):
            content = json.dumps(told).encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize(
    ("tags", "index", "stranger"),
    [
        (["rackctl/tftp:1"], ["docker.io/rackctl/tftp:1"], ""),
        (["rackctl/tftp:1", "debian:bookworm"], [], "debian:bookworm"),
        (["rackctl/tftp:1"], ["docker.io/library/debian:bookworm"], "library/debian:bookworm"),
        (["rackctl/microhttp:1"], [], "rackctl/microhttp:1"),
        (["other/tftp:1"], [], "other/tftp:1"),
    ],
)
def test_a_bundle_may_name_no_image_but_the_racks(
    tmp_path: Path, rack: RackFolder, monkeypatch: pytest.MonkeyPatch, tags: list[str], index: list[str], stranger: str
) -> None:
    loaded: list[Path] = []
    monkeypatch.setattr(bundle, "load_images", loaded.append)
    named = ["rackctl/tftp:1", "other/tftp:1"]
    file = make_bundle(tmp_path / "b", {"images.tar": archive_of(tags, index)}, images=named)
    if stranger:
        with pytest.raises(FetchError, match=f"names {stranger}"):
            load(file, rack)
    else:
        load(file, rack)
    assert len(loaded) == (not stranger)


def test_a_bundle_that_is_cut_or_of_another_format_is_one_error(tmp_path: Path, rack: RackFolder) -> None:
    file = make_bundle(tmp_path / "b", {"cache/overlays/a": os.urandom(99_999)})
    file.write_bytes(file.read_bytes()[:50_000])
    with pytest.raises(FetchError, match=r"broken bundle|sha256 of a"):
        load(file, rack)
    (tmp_path / "c").write_bytes(b"text")
    with pytest.raises(FetchError, match="broken bundle"):
        load(tmp_path / "c", rack)
    for name, more in {"e": {"rackctl": None}, "f": {"images": 3}, "g": {"images": [["x"]]}}.items():
        with pytest.raises(FetchError, match="broken bundle"):
            load(make_bundle(tmp_path / name, {}, **more), rack)
    with pytest.raises(ConfigError, match="format 2"):
        load(make_bundle(tmp_path / "d", {}, format=2), rack)
