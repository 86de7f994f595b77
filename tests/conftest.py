"""Fixtures that several test files share, and what may run beside what when several workers run the tests."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fake_github import GitHub
from hypothesis import HealthCheck, settings

from rackctl.adapters.fetch import transfer

# A shell without job control starts what runs in the background with SIGINT ignored, which every child would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that look at one thing of the whole machine, and so run one after the other: here the containers of that role.
TOGETHER = {
    "ipmi": ("boot/test_provision.py", "adapters/test_ipmi.py", "cli/test_power_secrets.py", "cli/test_console.py",
             "cli/test_power_verbs.py", "cli/test_power_terminal.py", "cli/test_output.py"),
}  # fmt: skip
# What starts virtual machines goes first, the longest before all: the short tests fill the gaps at the end. The rack of
# three machines comes when one worker is done with its boots: five at once would starve on two cores.
FIRST = ("boot/test_dhcp_boot.py", "boot/test_oses.py", "boot/test_broken.py", "boot/test_boot.py",
         "boot/test_config.py", "boot/test_mac.py", "ipmi", "boot/test_kill.py", "test_wheel.py")  # fmt: skip


def group_of(nodeid: str) -> str:
    """Tests of one group never run at the same time: those of a file, which share fixtures and names of containers."""
    file = nodeid.partition("::")[0].removeprefix("tests/")
    return next((name for name, files in TOGETHER.items() if file in files), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole groups, however `pytest -n` was called: xdist's own loadgroup does nothing with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False  # the order of `pytest_collection_modifyitems` stands
    return Groups(config, log)


# How long an example takes says something of the machine too, which a worker does not have to itself. What must be fast
# has a test of its own among the serial ones.
settings.register_profile("worker", suppress_health_check=[HealthCheck.too_slow], deadline=None)
if "PYTEST_XDIST_WORKER" in os.environ:
    settings.load_profile("worker")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = {name: number for number, name in enumerate(FIRST)}
        items.sort(key=lambda item: place.get(group_of(item.nodeid), len(FIRST)))


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
