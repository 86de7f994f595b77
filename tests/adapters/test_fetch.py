"""fetch against a local server that behaves like GitHub: redirects, ranges, paging, and every way to fail."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_github import INITRD, KERNEL, GitHub, release, sha
from hypothesis import given
from hypothesis import strategies as st

from rackctl.adapters.fetch import Artifact, Store, Upstream, fetch_file, fetch_release, transfer
from rackctl.core.catalog import Catalog
from rackctl.core.lock import LockedFile, LockedRelease
from rackctl.core.sums import parse_sums
from rackctl.errors import BusyError, FetchError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def get(hub: GitHub, store: Store, **more: Any) -> Artifact:
    return fetch_file(f"{hub.url}/dl/k", store, name="k", report=lambda _line: None, **more)


def rancheros(hub: GitHub, store: Store, version: str, pins: dict[str, str] | None = None) -> dict[str, Artifact]:
    upstream = Upstream("rancheros", Catalog().get("rancheros"), version, store, lambda _line: None)
    upstream.resolve()
    files = {
        name: LockedFile(url=f"{hub.url}/dl/x", size=1, sha256=s, trust="pinned") for name, s in (pins or {}).items()
    }
    locked = LockedRelease(os="rancheros", wanted=version, version=upstream.version, artifacts=files)
    return fetch_release(upstream, locked)


def parts(store: Store) -> list[Path]:
    return list((store.root / "partial").glob("*.part"))


def test_a_file_is_kept_by_content_and_not_fetched_twice(hub: GitHub, store: Store) -> None:
    hub.files["k"] = KERNEL
    first = get(hub, store, expect_sha256=sha(KERNEL), expect_size=len(KERNEL))
    assert first.path == store.root / "sha256" / sha(KERNEL) and first.path.read_bytes() == KERNEL
    assert (first.size, first.trust) == (len(KERNEL), "published")
    assert get(hub, store, expect_sha256=sha(KERNEL)) == first
    assert len(hub.paths()) == 1 and not parts(store)


def test_many_that_want_one_file_fetch_it_once(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.pace = KERNEL, 0.01
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda pinned: get(hub, store, **pinned), [{}, {"expect_sha256": sha(KERNEL)}] * 3))
    assert {one.path.read_bytes() for one in found} == {KERNEL}
    assert len(hub.paths()) <= 2, "one by its sum, one by its URL"


def test_a_redirect_to_another_host_is_followed_without_the_token(
    hub: GitHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "canary-token")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    hub.files["k"], hub.objects = KERNEL, f"http://localhost:{hub.server_port}"
    assert get(hub, store, expect_sha256=sha(KERNEL)).size == len(KERNEL)
    assert [headers["Host"].partition(":")[0] for _, headers in hub.asked] == ["127.0.0.1", "localhost"]
    assert "canary" not in str(hub.asked)


def test_a_cut_body_is_resumed_where_it_ended(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.cuts = KERNEL, 2
    assert get(hub, store, expect_sha256=sha(KERNEL)).path.read_bytes() == KERNEL
    ranges = [headers.get("Range") for path, headers in hub.asked if path.startswith("/objects")]
    assert ranges == [None, "bytes=300000-", "bytes=600000-"]


@pytest.mark.parametrize("field", ["ranges", "etags"])
def test_a_server_that_cannot_resume_is_read_from_the_start(hub: GitHub, store: Store, field: str) -> None:
    hub.files["k"], hub.cuts = KERNEL, 2
    setattr(hub, field, False)
    assert get(hub, store, expect_sha256=sha(KERNEL)).path.read_bytes() == KERNEL


def test_a_body_that_is_always_cut_fails_with_url_and_bytes_then_resumes(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.cuts, hub.cut_at = KERNEL, 99, 1000
    with pytest.raises(FetchError) as failed:
        get(hub, store, expect_sha256=sha(KERNEL))
    assert failed.value.where == f"{hub.url}/dl/k" and failed.value.remedy
    assert f"received 5000 of {len(KERNEL)} bytes" in failed.value.message
    assert not store.path(sha(KERNEL)).exists()
    hub.cuts = 0
    get(hub, store, expect_sha256=sha(KERNEL))
    assert hub.asked[-1][1]["Range"] == "bytes=5000-"


def test_a_file_that_changed_between_two_attempts_is_not_mixed(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.cuts, hub.cut_at = KERNEL, 99, 1000
    with pytest.raises(FetchError):
        get(hub, store)
    hub.files["k"], hub.cuts = INITRD, 0
    assert get(hub, store).path.read_bytes() == INITRD


def test_a_whole_part_left_by_a_kill_is_used(hub: GitHub, store: Store) -> None:
    hub.files["k"] = KERNEL
    part = store.part(f"{hub.url}/dl/k", sha(KERNEL))
    part.write_bytes(KERNEL)
    part.with_suffix(".etag").write_text(f'"{sha(KERNEL)[:16]}"')
    assert get(hub, store, expect_sha256=sha(KERNEL)).path.read_bytes() == KERNEL


def test_a_part_that_does_not_fit_is_begun_anew_where_no_etag_can_tell(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.etags = KERNEL, False
    store.part("", sha(KERNEL)).write_bytes(b"not the beginning of it")
    assert get(hub, store, expect_sha256=sha(KERNEL)).path.read_bytes() == KERNEL
    assert [headers.get("Range") for path, headers in hub.asked if path.startswith("/objects")] == ["bytes=23-", None]


def test_a_part_of_the_whole_size_is_checked_without_asking(hub: GitHub, store: Store) -> None:
    store.part("", sha(KERNEL)).write_bytes(KERNEL)
    assert get(hub, store, expect_sha256=sha(KERNEL), expect_size=len(KERNEL)).path.read_bytes() == KERNEL
    assert not hub.asked


def test_a_server_that_wants_a_long_wait_is_not_waited_for(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.fail, hub.retry_after = KERNEL, [503], "3600"
    with pytest.raises(FetchError, match="the server asks to wait 3600 s"):
        get(hub, store)


def test_a_mismatch_tells_both_sums_moves_the_bad_file_aside_and_keeps_the_old(hub: GitHub, store: Store) -> None:
    hub.files["k"] = KERNEL
    old = get(hub, store)
    hub.files["k"] = INITRD
    with pytest.raises(FetchError) as failed:
        get(hub, store, expect_sha256="a" * 64)
    assert sha(INITRD) in failed.value.message and "a" * 64 in failed.value.message
    assert [bad.read_bytes() for bad in (store.root / "bad").iterdir()] == [INITRD]
    assert old.path.read_bytes() == KERNEL and not parts(store)


def test_a_wrong_size_is_refused(hub: GitHub, store: Store) -> None:
    hub.files["k"] = KERNEL
    with pytest.raises(FetchError, match="wrong size: received 700001 bytes, expected 7"):
        get(hub, store, expect_size=7)


def test_pinned_on_first_use_then_held(hub: GitHub, store: Store) -> None:
    hub.files["k"] = KERNEL
    assert get(hub, store).trust == "pinned"
    store.path(sha(KERNEL)).unlink()
    hub.files["k"] = INITRD
    with pytest.raises(FetchError, match="pinned on first use") as failed:
        get(hub, store)
    assert "pins.json" in failed.value.remedy


def test_a_file_harmed_in_the_store_is_fetched_again(hub: GitHub, store: Store) -> None:
    hub.files["k"] = KERNEL
    get(hub, store).path.write_bytes(b"rot")
    assert get(hub, store).path.read_bytes() == KERNEL


def test_passing_faults_are_retried_and_lasting_ones_are_not(hub: GitHub, store: Store) -> None:
    hub.files["k"], hub.fail = KERNEL, [503, 429]
    assert get(hub, store).size == len(KERNEL)
    hub.files.clear()
    with pytest.raises(FetchError, match="404"):
        get(hub, Store(store.root / "other"))
    assert len(hub.paths()) == 2


def test_a_full_disk_is_told_before_the_body(hub: GitHub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["k"] = KERNEL
    monkeypatch.setattr(transfer, "SPARE", 1 << 60)
    with pytest.raises(BusyError, match="700001 bytes"):
        get(hub, store)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "k"])
def test_only_http_is_fetched(store: Store, url: str) -> None:
    with pytest.raises(FetchError, match="only http"):
        fetch_file(url, store, name="k", report=lambda _line: None)


def test_an_absent_server_is_one_error(store: Store, hub: GitHub) -> None:
    with pytest.raises(FetchError, match="gave up"):
        fetch_file("http://127.0.0.1:1/k", store, name="k", report=lambda _line: None)


def test_rancheros_exact_needs_no_api_and_no_network_the_second_time(hub: GitHub, store: Store) -> None:
    release(hub, "v1.5.8")
    found = rancheros(hub, store, "1.5.8")
    assert {n: (a.sha256, a.trust) for n, a in found.items()} == {
        "vmlinuz": (sha(KERNEL), "published"), "initrd": (sha(INITRD), "published")}  # fmt: skip
    assert not hub.paths("/repos")
    hub.asked.clear()
    assert rancheros(hub, store, "v1.5.8") == found and not hub.asked


def test_rancheros_family_pages_and_leaves_candidates_out(
    hub: GitHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = ["v1.5.11-rc1", "v1.5.12", "v1.5.11", "v1.4.9", "v1.5.9", "v1.5.10", "v1.5.2"]
    hub.releases = [{"tag_name": t, "draft": t == "v1.5.12", "prerelease": t == "v1.5.11"} for t in tags]
    release(hub, "v1.5.10")
    monkeypatch.setenv("GITHUB_TOKEN", "canary-token")
    assert "v1.5.10" in rancheros(hub, store, "v1.5.x")["initrd"].url
    tokens = {path[:4]: "canary-token" in headers.get("Authorization", "") for path, headers in hub.asked}
    assert tokens == {"/rep": True, "/dl/": False, "/obj": False} and len(hub.paths("/repos")) == 4


def test_the_token_does_not_follow_a_link_to_another_host(hub: GitHub, store: Store) -> None:
    hub.releases, hub.elsewhere = [{"tag_name": "v1.5.1"}] * 3, True
    with pytest.raises(FetchError, match="another host"):
        rancheros(hub, store, "v1.5.x")


def test_the_rate_limit_is_explained(hub: GitHub, store: Store) -> None:
    hub.limited = True
    with pytest.raises(FetchError, match=r"limit of 60 .* until 22:13 UTC") as failed:
        rancheros(hub, store, "v1.5.x")
    assert "GITHUB_TOKEN" in failed.value.remedy


def test_more_than_a_hundred_tags_are_all_read(hub: GitHub, store: Store) -> None:
    hub.page_size = 100
    hub.releases = [{"tag_name": f"v1.4.{n}", "assets": [{"digest": None}]} for n in range(250)]
    hub.releases.append({"tag_name": "v1.5.3", "draft": False, "prerelease": False})
    release(hub, "v1.5.3")
    assert "v1.5.3" in rancheros(hub, store, "v1.5.x")["initrd"].url and len(hub.paths("/repos")) == 3


def test_a_list_that_did_not_change_is_not_sent_again(hub: GitHub, store: Store) -> None:
    hub.releases = [{"tag_name": "v1.5.7"}, {"tag_name": "v1.5.8"}, {"tag_name": "v1.5.6"}]
    release(hub, "v1.5.8")
    rancheros(hub, store, "v1.5.x")
    hub.asked.clear()
    rancheros(hub, store, "v1.5.x")
    assert [bool(headers.get("If-None-Match")) for _, headers in hub.asked] == [True, True]


def test_the_api_is_asked_again_after_a_passing_fault(hub: GitHub, store: Store) -> None:
    hub.releases, hub.fail = [{"tag_name": "v1.5.8"}], [502, 503]
    release(hub, "v1.5.8")
    assert rancheros(hub, store, "v1.5.x")


def test_a_secondary_limit_is_explained_too(hub: GitHub, store: Store) -> None:
    hub.fail = [429]
    with pytest.raises(FetchError, match="used up for 3600 s"):
        rancheros(hub, store, "v1.5.x")


def test_sums_that_carry_the_hash_of_a_404_page_stop(hub: GitHub, store: Store) -> None:
    release(hub, "v1.5.8")
    name = "v1.5.8/checksums.txt"
    hub.files[name] = hub.files[name].replace(sha(INITRD).encode(), sha(b"Not Found").encode())
    with pytest.raises(FetchError) as stopped:
        rancheros(hub, store, "v1.5.8")
    assert sha(b"Not Found") in stopped.value.message and sha(INITRD) in stopped.value.message


def test_the_first_releases_have_no_sums_and_are_pinned(hub: GitHub, store: Store) -> None:
    release(hub, "v1.5.1", sums=False)
    assert {a.trust for a in rancheros(hub, store, "v1.5.1").values()} == {"pinned"}


def test_a_release_that_lost_its_sums_is_refused_unless_locked(hub: GitHub, store: Store) -> None:
    release(hub, "v1.5.8", sums=False)
    with pytest.raises(FetchError, match="404"):
        rancheros(hub, store, "v1.5.8")
    pins = {"vmlinuz": sha(KERNEL), "initrd": sha(INITRD)}
    assert {a.trust for a in rancheros(hub, store, "v1.5.8", pins=pins).values()} == {"pinned"}


def test_sums_without_our_files_are_not_kept(hub: GitHub, store: Store) -> None:
    release(hub, "v1.5.8")
    good, hub.files["v1.5.8/checksums.txt"] = hub.files["v1.5.8/checksums.txt"], b"<html>late</html>"
    with pytest.raises(FetchError, match="no sha256 line for vmlinuz and initrd"):
        rancheros(hub, store, "v1.5.8")
    hub.files["v1.5.8/checksums.txt"] = good
    assert rancheros(hub, store, "v1.5.8")


def test_a_lock_that_upstream_contradicts_stops(hub: GitHub, store: Store) -> None:
    release(hub, "v1.5.8")
    with pytest.raises(FetchError, match=r"rack\.lock says b"):
        rancheros(hub, store, "v1.5.8", pins={"vmlinuz": "b" * 64})


def test_the_environment_names_mirrors(hub: GitHub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    release(hub, "v1.5.8")
    hub.releases = [{"tag_name": "v1.5.8"}]
    monkeypatch.setenv("RACKCTL_GITHUB_URL", hub.url + "/dl/")
    monkeypatch.setenv("RACKCTL_GITHUB_API", hub.url)
    assert len(rancheros(hub, store, "v1.5.x")) == 2


@pytest.mark.parametrize("version", ["latest", "../../x", "v1.5", "v1.5.8/../..", ""])
def test_other_versions_are_refused(hub: GitHub, store: Store, version: str) -> None:
    with pytest.raises(FetchError, match="no RancherOS version"):
        rancheros(hub, store, version)
    assert not hub.asked


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=20)


@given(st.dictionaries(NAMES, st.binary(max_size=8), max_size=9))
def test_checksums_round_trip(files: dict[str, bytes]) -> None:
    sums = {name: sha(content) for name, content in files.items()}
    text = "".join(f"sha256: {digest}  {name}\nmd5: {'0' * 32}  {name}\n" for name, digest in sums.items())
    assert parse_sums(text) == sums


@given(st.text())
def test_checksums_of_anything_are_sums(text: str) -> None:
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in parse_sums(text).values())


def test_two_sums_for_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two sums"):
        parse_sums(f"sha256: {'a' * 64}  initrd\nsha256: {'b' * 64}  initrd\n")
