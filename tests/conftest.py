"""Fixtures that several test files share."""

import threading
from collections.abc import Iterator

import pytest
from fake_github import GitHub

from rackctl.adapters.fetch import transfer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    for name in ("RACKCTL_GITHUB_URL", "RACKCTL_GITHUB_API", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with GitHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
