import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.load import parse_rack
from rackctl.core.lock import LockedFile, LockedRelease, RackLock, parse_lock, render_lock
from rackctl.errors import ConfigError

FILE = LockedFile(url="https://example.org/v1.5.8/initrd", size=3, sha256="0" * 64, trust="published")
RELEASE = LockedRelease(os="rancheros", wanted="v1.5.x", version="v1.5.8", artifacts={"initrd": FILE})


def test_what_is_written_is_read_again() -> None:
    lock = RackLock(releases=(RELEASE,))
    assert parse_lock(render_lock(lock)) == lock
    assert lock.find("rancheros", "v1.5.x") == RELEASE and lock.find("rancheros", "v1.5.8") is None


def test_the_processor_tells_two_releases_apart() -> None:
    arm = RELEASE.model_copy(update={"arch": "arm64", "version": "v1.5.7"})
    lock = RackLock(releases=(RELEASE,)).replaced([arm])
    assert len(lock.releases) == 2 and parse_lock(render_lock(lock)) == lock
    assert lock.find("rancheros", "v1.5.x", "arm64") == arm and lock.find("rancheros", "v1.5.x") == RELEASE
    assert render_lock(lock).count("arch:") == 1, "amd64 goes without saying"


def test_a_new_answer_takes_the_place_of_the_old() -> None:
    newer = RELEASE.model_copy(update={"version": "v1.5.9"})
    assert RackLock(releases=(RELEASE,)).replaced([newer]).releases == (newer,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("releases: [", "YAML"),
        ("<<<<<<< HEAD\n", "rack.lock"),
        ("lock: 2\n", "lock"),
        (render_lock(RackLock(releases=(RELEASE,))).replace("0" * 64, "0" * 63), "sha256"),
        (render_lock(RackLock(releases=(RELEASE,))).replace("https:", "file:"), "url"),
        (render_lock(RackLock(releases=(RELEASE,))).replace("version: v1.5.8", "version: ../x"), "version"),
        (render_lock(RackLock(releases=(RELEASE,))).replace("initrd:", "../../x:"), "artifacts"),
        (render_lock(RackLock(releases=(RELEASE,))).replace("os: rancheros", "os: ../x"), "os"),
        ("", "empty or cut"),
        ("lock: 1\nreleases: []\n", "empty or cut"),
        (render_lock(RackLock(releases=(RELEASE,)))[:200], "rack.lock"),
    ],
)
def test_a_wrong_lock_names_the_fault_and_the_way_out(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_lock(text)
    assert says in str(caught.value) and "remove it" in caught.value.remedy


@given(st.text(max_size=200))
def test_any_text_is_a_lock_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_lock(text)


def test_a_rack_takes_the_versions_that_its_wishes_mean() -> None:
    rack = parse_rack(
        "server: {address: 10.98.0.1}\nos: {name: rancheros, version: v1.5.x}\n"
        "nodes:\n  a: {mac: '52:54:00:12:34:56'}\n"
        "  b: {mac: '52:54:00:12:34:57', os: {name: rancheros, version: v1.4.x}}\n"
    )
    settled = rack.with_versions({("rancheros", "v1.5.x", "amd64"): "v1.5.8"})
    assert settled.os.version == "v1.5.8" and settled.nodes["b"].os.version == "v1.4.x"  # type: ignore[union-attr]
