"""initrds as the kernel reads them, checked against the cpio, gzip, xz, zstd and lz4 programs where they are here."""

import bz2
import contextlib
import gzip
import lzma
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.cpio import Entry, clean_name, flatten, pack_overlay, read_initrd, write_cpio
from rackctl.core.initrd import diff, list_segments
from rackctl.core.overlay import InitrdOverlay, choose_firmware, find_links, place, place_entries

FILE, FOLDER, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
ONE = write_cpio([Entry("a/b", FILE, b"content"), Entry("link", LINK, b"a/b")])
TWO = write_cpio([Entry("a/b", FILE, b"later"), Entry("c", FILE, b"c")])


def lz4_legacy(data: bytes) -> bytes:
    import lz4.block

    packed = lz4.block.compress(data, mode="high_compression", store_size=False)
    return b"\x02\x21\x4c\x18" + len(packed).to_bytes(4, "little") + packed


PACKERS = {
    "none": bytes,
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstandard.compress,
    "lz4": lz4_legacy,
    "bzip2": bz2.compress,
}


@pytest.mark.parametrize("packing", PACKERS)
def test_every_packing_alone_and_before_another(packing: str) -> None:
    packed = PACKERS[packing](ONE)
    [only] = read_initrd(packed)
    assert (only.packing, only.offset, [e.name for e in only.entries]) == (packing, 0, ["a", "a/b", "link"])
    padded = packed + b"\0" * (-len(packed) % 4)
    for follower in (TWO, gzip.compress(TWO), zstandard.compress(TWO)):
        both = read_initrd(padded + follower)
        assert both[0].packing == packing and len(both) == 2
        found = flatten(both)
        assert found["a/b"].data == b"later" and found["c"].data == b"c" and found["link"].data == b"a/b"


def test_zeros_between_two_are_skipped() -> None:
    assert len(read_initrd(gzip.compress(ONE) + b"\0" * 4096 + ONE + b"\0" * 512)) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"junk",
        ONE[:-130],
        gzip.compress(ONE, mtime=0)[:-9],
        gzip.compress(b"text", mtime=0),
        ONE + b"x",
        b"070701" + b"z" * 200,
    ],
)
def test_a_broken_one_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|cut"):
        read_initrd(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for start in (b"", b"070701", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"\xfd7zXZ\x00"):
        with contextlib.suppress(ValueError):
            read_initrd(start + data)


NAMES = st.lists(st.text("ab.-_é", min_size=1, max_size=4), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(NAMES.filter(lambda n: not {"..", "."} & set(n.split("/"))), st.binary(max_size=9), max_size=9))
def test_what_is_written_is_read_with_all_parents(files: dict[str, bytes]) -> None:
    files = {n: c for n, c in files.items() if not any(other.startswith(n + "/") for other in files)}
    found = flatten(read_initrd(pack_overlay([Entry(n, FILE, c) for n, c in files.items()])))
    assert {n: e.data for n, e in found.items() if not e.is_folder} == files
    seen: set[str] = set()
    for name in found:
        parent = name.rpartition("/")[0]
        assert not parent or parent in seen
        seen.add(name)


def test_an_overlay_is_padded_and_the_same_each_time() -> None:
    entries = [Entry("b", FILE, b"1"), Entry("a/x", FILE, b"22")]
    packed = pack_overlay(entries)
    assert len(packed) % 4 == 0 and packed == pack_overlay(reversed(entries))


@pytest.mark.skipif(not shutil.which("cpio"), reason="no cpio program here")
def test_cpio_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    subprocess.run(["cpio", "-id", "--quiet"], input=ONE, cwd=tmp_path / "in", check=True)
    assert (tmp_path / "in/link").read_bytes() == b"content"
    (tmp_path / "in/hard").hardlink_to(tmp_path / "in/a/b")
    names = b"a\na/b\nhard\nlink\n"
    argv = ["cpio", "-o", "-H", "newc", "--quiet"]
    done = subprocess.run(argv, input=names, cwd=tmp_path / "in", check=True, capture_output=True)
    found = flatten(read_initrd(done.stdout))
    assert found["hard"].data == found["a/b"].data == b"content" or b"content" in (
        found["hard"].data,
        found["a/b"].data,
    )


def test_a_folder_that_is_there_keeps_its_mode() -> None:
    packed = pack_overlay([Entry("root/.ssh/keys", FILE, b"")], {"root": stat.S_IFDIR | 0o700})
    found = flatten(read_initrd(packed))
    assert found["root"].mode & 0o777 == 0o700 and found["root/.ssh"].mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/", "a\0b"])
def test_a_name_outside_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no path inside"):
        clean_name(name)


def test_rancheros_firmware_goes_where_its_init_leads() -> None:
    found = choose_firmware([Entry("./usr/lib/firmware/bnx2/x.fw", FILE, b"f"), Entry("usr/share/doc/x", FILE, b"d")])
    links = find_links({"usr/lib": Entry("usr/lib", FOLDER)}, {"lib": "usr/lib"})
    [placed] = place_entries(found, links)
    assert placed.name == "usr/lib/firmware/bnx2/x.fw"


def test_a_link_of_the_initrd_is_followed_and_never_replaced() -> None:
    initrd = {"lib": Entry("lib", LINK, b"usr/lib"), "etc/x": Entry("etc/x", LINK, b"../opt/y")}
    links = find_links(initrd, {})
    assert place("lib/firmware/a", links) == "usr/lib/firmware/a" and place("etc/x/b", links) == "opt/y/b"
    placed = place_entries([Entry("lib", FOLDER), Entry("lib/a", FILE, b"")], links)
    assert [one.name for one in placed] == ["usr/lib/a"]
    with pytest.raises(ValueError, match="circle"):
        place("p/x", {"p": "q", "q": "p"})


def test_the_listing_and_the_difference() -> None:
    old, new = read_initrd(ONE), read_initrd(ONE + TWO)
    assert next(list_segments(new)).startswith("archive 1: byte 0")
    assert [line[:1] + line.split()[3] for line in diff(flatten(old), flatten(new))] == ["~a/b", "+c"]


@pytest.mark.parametrize(
    "fields", [{}, {"file": "x"}, {"file": "x", "folder": "y", "to": "z"}, {"file": "x", "to": "../y"}]
)
def test_a_wrong_overlay_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        InitrdOverlay.model_validate(fields)
