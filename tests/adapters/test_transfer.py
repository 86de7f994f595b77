"""How a download waits and which way it goes: back-off with jitter, and the proxy of the environment."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_github import KERNEL, GitHub, sha

from rackctl.adapters.fetch import Store, fetch_file, transfer
from rackctl.adapters.fetch.web import read_page
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
