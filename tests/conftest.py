"""Fixtures that several test files share."""

import threading
from collections.abc import Iterator

import pytest
from fake_github import GitHub

from rackctl.adapters.fetch import transfer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with GitHub() as server:
        monkeypatch.setenv("RACKCTL_GITHUB_URL", server.url + "/dl")
        monkeypatch.setenv("RACKCTL_GITHUB_API", server.url)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
