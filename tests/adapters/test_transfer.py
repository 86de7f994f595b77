"""How downloads go: side by side, by back-off with jitter, by the environment's proxy, told in lines."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_github import KERNEL, GitHub, Handler, release, sha

from rackctl.adapters.fetch import Store, Upstream, fetch_file, fetch_release, transfer
from rackctl.adapters.fetch.progress import EVERY, LineProgress
from rackctl.adapters.fetch.web import read_page
from rackctl.core.catalog import Catalog
from rackctl.errors import FetchError


@pytest.mark.parametrize("ask", [
    lambda url, store: fetch_file(url, store, name="k", report=lambda _line: None),
    lambda url, _store: read_page(url),
], ids=["a file", "a page"])  # fmt: skip
def test_each_wait_is_twice_the_one_before_and_none_is_like_another_masters(
    hub: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[str, Store], object]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer, "PAUSE", 1.0)
    monkeypatch.setattr("time.sleep", lambda seconds: waits.append(seconds) if seconds else None)
    runs = []
    for run in range(2):
        waits.clear()
        hub.fail = [503] * transfer.TRIES
        with pytest.raises(FetchError):
            ask(f"{hub.url}/dl/k", Store(tmp_path / str(run)))
        runs.append(list(waits))
    for found in runs:
        assert len(found) == transfer.TRIES - 1
        assert all(0.5 * 2**n <= wait <= 1.5 * 2**n for n, wait in enumerate(found)), found
    assert runs[0] != runs[1]


def test_the_proxy_of_the_environment_is_asked(hub: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is asked for whole URLs, and is the only one that knows this host."""
    url = "http://upstream.invalid/objects/k"
    with GitHub() as proxy:
        proxy.files[url] = KERNEL
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        found = fetch_file(url, Store(tmp_path), name="k", report=lambda _line: None, expect_sha256=sha(KERNEL))
        proxy.shutdown()
    assert found.path.read_bytes() == KERNEL
    assert [path for path, _ in proxy.asked] == [url] and not hub.asked


def test_the_files_of_a_release_come_side_by_side(hub: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(hub, "v1.5.8")
    both, body = threading.Barrier(2, timeout=20), Handler.body

    def wait_for_the_other(self: Handler, content: bytes) -> None:
        if len(content) > 10_000:  # kernel and initrd, not the list of sums
            both.wait()  # one after the other, the first would wait in vain
        body(self, content)

    monkeypatch.setattr(Handler, "body", wait_for_the_other)
    one = Upstream("rancheros", Catalog().get("rancheros"), "v1.5.8", Store(tmp_path), lambda _line: None)
    one.resolve()
    assert sorted(fetch_release(one)) == ["initrd", "vmlinuz"]
    assert not both.broken


def test_a_line_tells_bytes_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lines = [100.0], list[str]()
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    tell = LineProgress(lines.append)
    for step in range(9):
        tell("initrd", step << 20, 100 << 20)
        clock[0] += EVERY / 4
    assert lines == ["initrd: 4.0 of 100.0 MiB, 2.0 MiB/s, 48 s left", "initrd: 8.0 of 100.0 MiB, 2.0 MiB/s, 46 s left"]
    clock[0] += EVERY
    tell("initrd", 9 << 20, None)
    assert lines[-1].startswith("initrd: 9.0 MiB, ") and "left" not in lines[-1]
