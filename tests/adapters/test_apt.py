"""The apt chain against a mirror made here with its own key, and once against the machine's real one."""

import hashlib
import io
import lzma
import tarfile
from pathlib import Path

import pysequoia
import pytest
import zstandard
from fake_github import GitHub
from pysequoia import SignatureMode, Tsk

from rackctl import overlays
from rackctl.adapters.fetch import Store, Upstream, apt, archive, fetch_release
from rackctl.adapters.fetch.apt import find_mirror, open_suite, read_listed
from rackctl.adapters.fetch.archive import extract_member
from rackctl.adapters.fetch.signatures import load_keys
from rackctl.adapters.overlay import read_package
from rackctl.core.catalog import Catalog, Entry, Keys, parse_entry
from rackctl.core.debian import find_package, parse_release, parse_sources, parse_stanza
from rackctl.core.lock import LockedFile, LockedRelease
from rackctl.core.overlay import InitrdOverlay, choose_firmware
from rackctl.errors import BusyError, FetchError

ENTRY = """\
title: Tiny
about: A test
homepage: https://example.org/
default: "13"
wishes: [{match: "13|stable", release: "13", suite: trixie}]
index: {kind: package, package: "tiny-{release}"}
keys: [{keyring: tiny}]
artifacts:
  - name: vmlinuz
    role: kernel
    package: tiny-{release}
    member: boot/vmlinuz-{release}
    listed: main/installer/SHA256SUMS#netboot/linux
"""


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_deb(files: dict[str, bytes], links: dict[str, str] | None = None, packed: str = "xz") -> bytes:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for name, content in files.items():
            one = tarfile.TarInfo("./" + name)
            one.size = len(content)
            tar.addfile(one, io.BytesIO(content))
        for name, target in (links or {}).items():
            one = tarfile.TarInfo("./" + name)
            one.type, one.linkname = tarfile.SYMTYPE, target
            tar.addfile(one)
    data = lzma.compress(inner.getvalue()) if packed == "xz" else zstandard.compress(inner.getvalue())
    out = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"x"), (f"data.tar.{packed}", data)):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


class Mirror:
    """A Debian mirror under /objects of the hub; `publish` signs its state."""

    def __init__(self, hub: GitHub, tmp_path: Path) -> None:
        self.hub, self.key = hub, Tsk.generate("Tiny archive")
        (tmp_path / "keys").mkdir()
        (tmp_path / "keys" / "tiny.asc").write_text(str(self.key.extract_certificate()))
        self.keys = tmp_path / "keys"
        self.deb = make_deb({"boot/vmlinuz-13": b"the kernel"})
        self.sums = f"{sha(b'the kernel')}  ./netboot/linux\n".encode()
        self.publish()

    def publish(self, codename: str = "trixie", version: str = "1+deb13u1", dates: str = "") -> None:
        name = f"pool/tiny_{version}.deb"
        stanza = (
            f"Package: tiny-13\nVersion: {version}\nFilename: {name}\nSize: {len(self.deb)}\nSHA256: {sha(self.deb)}\n"
        )
        packages = lzma.compress(("Package: tiny-130\nVersion: 0\n\n" + stanza + "\nPackage: z\n").encode())
        listed = {"main/binary-amd64/Packages.xz": packages, "main/installer/SHA256SUMS": self.sums}
        lines = "".join(f" {sha(content)} {len(content)} {path}\n" for path, content in listed.items())
        text = f"Origin: Test\nCodename: {codename}\n{dates}MD5Sum:\n 0 1 x\nSHA256:\n{lines}"
        signed = pysequoia.sign(self.key.signer(), text.encode(), mode=SignatureMode.CLEAR)
        self.hub.files["dists/trixie/InRelease"] = signed
        self.hub.files |= {f"dists/trixie/{path}": content for path, content in listed.items()}
        self.hub.files[name] = self.deb


@pytest.fixture
def mirror(hub: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    monkeypatch.setenv("RACKCTL_DEBIAN_MIRROR", hub.url + "/objects/")
    return Mirror(hub, tmp_path)


def upstream(mirror: Mirror, tmp_path: Path, told: list[str] | None = None) -> Upstream:
    entry: Entry = parse_entry(ENTRY, "tiny.yml")
    tell = told.append if told is not None else lambda _line: None
    return Upstream("tiny", entry, "stable", Store(tmp_path / "store"), tell, own_keys=mirror.keys)


def test_the_whole_chain(mirror: Mirror, tmp_path: Path) -> None:
    one = upstream(mirror, tmp_path)
    assert one.resolve() == "1+deb13u1"
    kernel = fetch_release(one)["vmlinuz"]
    assert kernel.path.read_bytes() == b"the kernel" and kernel.trust == "signed"
    assert kernel.archive is not None and kernel.archive.sha256 == sha(mirror.deb)


def test_a_mirror_that_is_behind_is_told_so(mirror: Mirror, tmp_path: Path) -> None:
    name = "dists/trixie/main/binary-amd64/Packages.xz"
    newer, older = mirror.hub.files[name], bytes(reversed(mirror.hub.files[name]))
    mirror.hub.files[name] = older
    with pytest.raises(FetchError, match="the mirror is behind") as caught:
        upstream(mirror, tmp_path).resolve()
    assert sha(older) in caught.value.message and sha(newer) in caught.value.message
    mirror.hub.files[name] = b"another size"
    with pytest.raises(FetchError, match="the mirror is behind"):
        upstream(mirror, tmp_path).resolve()


def test_a_bad_signature_stops(mirror: Mirror, tmp_path: Path) -> None:
    name = "dists/trixie/InRelease"
    mirror.hub.files[name] = mirror.hub.files[name].replace(b"Test", b"Evil")
    with pytest.raises(FetchError, match="the signature is not good"):
        upstream(mirror, tmp_path).resolve()


def test_another_suite_under_this_name_stops(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish(codename="bookworm")
    with pytest.raises(FetchError, match="signed for bookworm, not for trixie"):
        upstream(mirror, tmp_path).resolve()


@pytest.mark.parametrize(
    ("dates", "says"),
    [
        ("Valid-Until: Sat, 03 Jan 2026 08:30:09 UTC\n", "valid until 2026-01-03 08:30 UTC"),
        ("Date: Sat, 03 Jan 2099 08:30:09 UTC\n", "made in the future, on 2099-01-03 08:30 UTC"),
        ("Valid-Until: 9999\n", "Valid-Until is no date"),
        ("Date: Sat, 03 Jan 2026 08:30:09 UTC\nValid-Until: Sat, 03 Jan 2099 08:30:09 UTC\n", ""),
    ],
)
def test_an_inrelease_of_another_time_stops(mirror: Mirror, tmp_path: Path, dates: str, says: str) -> None:
    mirror.publish(dates=dates)
    if not says:
        assert upstream(mirror, tmp_path).resolve()
        return
    with pytest.raises(FetchError, match=says) as caught:
        upstream(mirror, tmp_path).resolve()
    assert "clock" in caught.value.remedy


@pytest.mark.parametrize("size", ["Size: many", "X: 1"])
def test_packages_without_a_size_is_one_error(size: str) -> None:
    stanza = parse_stanza(f"Package: x\nVersion: 1\nFilename: f\nSHA256: {'0' * 64}\n{size}\n")
    with pytest.raises(FetchError, match=r"invalid literal|tells no 'Size' of x"):
        apt._deb(apt.Suite("http://h", "trixie", {}), stanza)


def test_a_version_with_an_epoch_is_one_that_the_lock_takes(mirror: Mirror, tmp_path: Path) -> None:
    mirror.publish(version="1:2.0~rc1")
    assert upstream(mirror, tmp_path).resolve() == "2.0-rc1"


def test_a_changed_package_stops_with_both_sums(mirror: Mirror, tmp_path: Path) -> None:
    one = upstream(mirror, tmp_path)
    one.resolve()
    evil = bytes(reversed(mirror.deb))
    mirror.hub.files["pool/tiny_1+deb13u1.deb"] = evil
    with pytest.raises(FetchError) as caught:
        fetch_release(one)
    assert sha(evil) in caught.value.message and sha(mirror.deb) in caught.value.message


def test_a_second_witness_that_contradicts_stops(mirror: Mirror, tmp_path: Path) -> None:
    mirror.sums = f"{'a' * 64}  ./netboot/linux\n".encode()
    mirror.publish()
    one = upstream(mirror, tmp_path)
    one.resolve()
    with pytest.raises(FetchError, match="SHA256SUMS says aaaa"):
        fetch_release(one)


def test_a_second_witness_that_is_behind_is_told_of(mirror: Mirror, tmp_path: Path) -> None:
    mirror.hub.files["dists/trixie/main/installer/SHA256SUMS"] = b"older"
    told: list[str] = []
    one = upstream(mirror, tmp_path, told)
    one.resolve()
    assert fetch_release(one)["vmlinuz"].trust == "signed"
    assert any("the mirror is behind" in line and "by the package alone" in line for line in told)


def test_a_locked_package_is_asked_for_by_its_own_url(mirror: Mirror, tmp_path: Path) -> None:
    one = upstream(mirror, tmp_path)
    one.resolve()
    kernel = fetch_release(one)["vmlinuz"]
    file = LockedFile(url=kernel.url, size=kernel.size, sha256=kernel.sha256, trust="signed", archive=kernel.archive)
    locked = LockedRelease(os="tiny", wanted="stable", version=one.version, artifacts={"vmlinuz": file})
    mirror.deb = make_deb({"boot/vmlinuz-13": b"newer kernel"})
    mirror.publish(version="2")
    fresh = tmp_path / "fresh"
    again = upstream(mirror, fresh)
    again.settle(locked.version)
    mirror.hub.asked.clear()
    assert fetch_release(again, locked)["vmlinuz"].path.read_bytes() == b"the kernel"
    assert mirror.hub.paths() == ["/objects/pool/tiny_1+deb13u1.deb"]


@pytest.mark.parametrize("packed", ["xz", "zst"])
def test_members_are_found_through_links(tmp_path: Path, packed: str) -> None:
    links = {"boot/link": "../real/kernel", "boot/absolute": "/real/kernel", "boot/loop": "loop"}
    (tmp_path / "x.deb").write_bytes(make_deb({"real/kernel": b"k"}, links, packed))
    for name in ("real/kernel", "boot/link", "boot/absolute"):
        extract_member(tmp_path / "x.deb", name, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"k"
    with pytest.raises(FetchError, match="too many links"):
        extract_member(tmp_path / "x.deb", "boot/loop", tmp_path / "out")
    with pytest.raises(FetchError, match="holds no file"):
        extract_member(tmp_path / "x.deb", "boot/other", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\n" + b"x" * 99, b"\x1f\x8b\x08", b"text"])
def test_a_broken_archive_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(FetchError):
        extract_member(tmp_path / "x", "a", tmp_path / "out")
    with pytest.raises(FetchError):
        list(read_package(tmp_path / "x"))


def test_a_full_disk_is_no_broken_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.deb").write_bytes(make_deb({"a": b"k"}))
    monkeypatch.setattr(archive, "SPARE", 1 << 60)
    with pytest.raises(BusyError, match="no room to unpack a, 1 bytes"):
        extract_member(tmp_path / "x.deb", "a", tmp_path / "out")
    monkeypatch.setattr(archive, "SPARE", 0)
    with pytest.raises(BusyError, match="no room to unpack a"):
        extract_member(tmp_path / "x.deb", "a", Path("/dev/full"))


def test_aptos_configuration_in_both_forms() -> None:
    old = "# c\ndeb [arch=amd64 signed-by=/k.gpg] http://h/debian/ trixie main contrib # x\n"
    [one] = parse_sources(old + "deb-src http://h/debian trixie main\n")
    assert (one.uri, one.suites, one.components, one.signed_by) == (
        "http://h/debian", ("trixie",), ("main", "contrib"), "/k.gpg")  # fmt: skip
    new = "Types: deb deb-src\n# c\nURIs: http://h/debian\nSuites: trixie trixie-updates\nComponents: main\n"
    [one] = parse_sources(new + "\nTypes: deb\nEnabled: no\nURIs: http://x\nSuites: s\n")
    assert one.suites == ("trixie", "trixie-updates")


def test_release_and_packages_are_read() -> None:
    fields, listed = parse_release(f"Codename: x\nSHA256:\n {'a' * 64} 12 main/a\n junk\nAcquire-By-Hash: yes\n")
    assert fields["Acquire-By-Hash"] == "yes" and listed["main/a"].size == 12 and len(listed) == 1
    found = find_package("Package: ab\nVersion: 1\n\nPackage: a\nVersion: 2\nDescription: x\n  y\n", "a")
    assert found is not None and found["Version"] == "2" and find_package("Package: ab\n", "a") is None


def real_mirror() -> str:
    try:
        return find_mirror("trixie") if any(apt._apt_files()) else ""
    except FetchError:
        return ""


@pytest.mark.engine
@pytest.mark.skipif(not real_mirror(), reason="this machine's apt names no Debian mirror")
def test_the_real_mirror_and_the_real_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlays, "CACHE", tmp_path)
    entry = Catalog().get("memtest86+")
    one = Upstream("memtest86+", entry, "13", Store(tmp_path), print)
    assert one.resolve()
    found = fetch_release(one)
    assert found["vmlinuz.efi"].path.read_bytes()[:2] == b"MZ" and found["vmlinuz"].trust == "signed"
    firmware = overlays.bring_package(InitrdOverlay(package="firmware-bnx2"), print)
    names = {one.name for one in choose_firmware(read_package(firmware.path))}
    assert "lib/firmware/bnx2/bnx2-mips-09-6.2.1b.fw" in names
    suite = open_suite("bookworm", load_keys([Keys(keyring="debian-archive-keyring")]), one.store)
    sums = read_listed(suite, "main/installer-amd64/current/images/SHA256SUMS", one.store, print)
    assert b"netboot/debian-installer/amd64/linux" in sums
