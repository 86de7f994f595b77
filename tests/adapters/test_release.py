"""Each way that a catalogue entry can verify, against a local server and keys made here."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pysequoia
import pytest
from fake_github import GitHub
from pysequoia import SignatureMode, Tsk

from rackctl.adapters.fetch import Artifact, Store, Upstream, fetch_release
from rackctl.core.catalog import parse_entry
from rackctl.errors import FetchError

KEY, EVE = Tsk.generate("Upstream"), Tsk.generate("Eve")
HEAD = "title: T\nabout: A test\nhomepage: https://example.org/\ndefault: stable\n"
SUMS = """\
wishes: [{match: '(\\d+)(\\.\\d+)?', release: \\1}]
index: {kind: text, url: HUB/SHA256SUMS, pattern: 'os-(?P<version>\\d+\\.\\d+)\\.tar'}
artifacts:
  - {name: vmlinuz, role: kernel, url: 'HUB/os-{version}.tar', member: './a/linux'}
  - {name: initrd, role: initrd, url: 'HUB/os-{version}.tar', member: a/initrd}
sums: {url: HUB/SHA256SUMS, signature: HUB/SHA256SUMS.gpg}
keys: [{keyring: mine}]
"""
FILES = """\
wishes: [{match: stable}]
index: {kind: fixed, version: '1'}
artifacts: [{name: vmlinuz, role: kernel, url: ['HUB/gone', 'HUB/kernel'], signature: HUB/kernel.sig}]
keys: [{keyring: mine}]
"""
STREAM = """\
wishes: [{match: (stable|next), channel: \\1}]
index: {kind: json, url: 'HUB/{channel}.json', version: 'architectures.{os_arch}.release'}
artifacts: [{name: vmlinuz, role: kernel, entry: 'architectures.{os_arch}.kernel'}]
keys: [{keyring: mine}]
"""


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sign(content: bytes, key: Tsk = KEY) -> bytes:
    return pysequoia.sign(key.signer(), content, mode=SignatureMode.DETACHED)


def bring(text: str, hub: GitHub, tmp_path: Path, wanted: str = "stable") -> tuple[str, dict[str, Artifact]]:
    (tmp_path / "keys").mkdir(exist_ok=True)
    (tmp_path / "keys" / "mine.asc").write_text(str(KEY.extract_certificate()))
    entry = parse_entry(HEAD + text.replace("HUB", hub.url + "/objects"), "t.yml")
    one = Upstream("t", entry, wanted, Store(tmp_path / "store"), lambda _line: None, own_keys=tmp_path / "keys")
    one.resolve()
    return one.version, fetch_release(one)


def tarball(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"a/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def publish_sums(hub: GitHub, key: Tsk = KEY) -> None:
    hub.files["os-24.4.tar"] = tarball(linux=b"old", initrd=b"i")
    hub.files["os-24.10.tar"] = tarball(linux=b"kernel", initrd=b"initrd")
    listed = {name: content for name, content in hub.files.items() if name.startswith("os-")}
    sums = "".join(f"{sha(content)} *{name}\n" for name, content in listed.items()).encode()
    hub.files |= {"SHA256SUMS": sums, "SHA256SUMS.gpg": sign(sums, key)}


def test_signed_sums_over_an_archive(hub: GitHub, tmp_path: Path) -> None:
    publish_sums(hub)
    version, found = bring(SUMS.replace("./a/", "a/"), hub, tmp_path, "24")
    assert version == "24.10"
    assert {n: (a.path.read_bytes(), a.trust) for n, a in found.items()} == {
        "vmlinuz": (b"kernel", "signed"), "initrd": (b"initrd", "signed")}  # fmt: skip
    assert hub.paths().count("/objects/os-24.10.tar") == 1


def test_sums_that_somebody_else_signed_stop(hub: GitHub, tmp_path: Path) -> None:
    publish_sums(hub, EVE)
    with pytest.raises(FetchError, match="the signature is not good"):
        bring(SUMS, hub, tmp_path, "24")


def test_an_archive_that_the_signed_sums_do_not_know_stops(hub: GitHub, tmp_path: Path) -> None:
    publish_sums(hub)
    hub.files["os-24.10.tar"] = tarball(linux=b"evil", initrd=b"evil")
    with pytest.raises(FetchError, match="sha256 is"):
        bring(SUMS, hub, tmp_path, "24.10")


def test_a_signed_file_from_the_first_mirror_that_has_it(hub: GitHub, tmp_path: Path) -> None:
    hub.files |= {"kernel": b"k" * 9999, "kernel.sig": sign(b"k" * 9999)}
    _, found = bring(FILES, hub, tmp_path)
    assert found["vmlinuz"].trust == "signed" and found["vmlinuz"].url.endswith("/kernel")


def test_a_file_with_a_bad_signature_is_put_aside(hub: GitHub, tmp_path: Path) -> None:
    hub.files |= {"kernel": b"evil", "kernel.sig": sign(b"good")}
    with pytest.raises(FetchError, match="the signature is not good"):
        bring(FILES, hub, tmp_path)
    assert [file.read_bytes() for file in (tmp_path / "store/bad").iterdir()] == [b"evil"]
    hub.files |= {"kernel": b"good"}
    assert bring(FILES, hub, tmp_path)[1]["vmlinuz"].path.read_bytes() == b"good"


def stream(hub: GitHub, content: bytes, signature: bytes) -> None:
    where = {"location": f"{hub.url}/objects/k", "sha256": sha(content), "signature": f"{hub.url}/objects/k.sig"}
    hub.files["stable.json"] = json.dumps({"architectures": {"amd64": {"release": "42.1", "kernel": where}}}).encode()
    hub.files |= {"k": content, "k.sig": signature}


def test_a_stream_tells_version_place_sum_and_signature(hub: GitHub, tmp_path: Path) -> None:
    stream(hub, b"kernel", sign(b"kernel"))
    version, found = bring(STREAM, hub, tmp_path)
    assert version == "42.1" and found["vmlinuz"].sha256 == sha(b"kernel") and found["vmlinuz"].trust == "signed"


def test_a_stream_whose_signature_is_bad_stops(hub: GitHub, tmp_path: Path) -> None:
    stream(hub, b"kernel", sign(b"kernel", EVE))
    with pytest.raises(FetchError, match="the signature is not good"):
        bring(STREAM, hub, tmp_path)


HOSTILE = {
    "signature": ["", None, 7],
    "location": ["file:///etc/passwd", 7, "/k", ["x"]],
    "sha256": ["", "../../../x", "A" * 64, {"x": 1}],
    "release": ["../../../etc", {"x": 1}, 7, "", "a b", "x" * 99],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in HOSTILE.items() for value in values])
def test_a_stream_that_lies_is_one_error_and_never_signed(
    hub: GitHub, tmp_path: Path, field: str, value: object
) -> None:
    stream(hub, b"kernel", sign(b"kernel"))
    told = json.loads(hub.files["stable.json"])
    architecture = told["architectures"]["amd64"]
    (architecture if field == "release" else architecture["kernel"])[field] = value
    hub.files["stable.json"] = json.dumps(told).encode()
    with pytest.raises(FetchError):
        bring(STREAM, hub, tmp_path)
    assert not list((tmp_path / "store/sha256").glob("*"))


def test_what_was_pinned_unsigned_is_not_signed_later(hub: GitHub, tmp_path: Path) -> None:
    hub.files |= {"kernel": b"evil", "kernel.sig": sign(b"good")}
    unsigned = FILES.replace(", signature: HUB/kernel.sig", "").replace("keys: [{keyring: mine}]\n", "")
    assert bring(unsigned, hub, tmp_path)[1]["vmlinuz"].trust == "pinned"
    with pytest.raises(FetchError, match="the signature is not good"):
        bring(FILES, hub, tmp_path)


def test_sums_that_were_kept_unsigned_are_not_signed_later(hub: GitHub, tmp_path: Path) -> None:
    by_version = SUMS.replace("HUB/SHA256SUMS, sig", "'HUB/{version}/SUMS', sig").replace(
        "HUB/SHA256SUMS.gpg", "HUB/SUMS.gpg"
    )
    publish_sums(hub, EVE)
    hub.files |= {"24.10/SUMS": hub.files["SHA256SUMS"], "SUMS.gpg": hub.files["SHA256SUMS.gpg"]}
    unsigned = by_version.replace(", signature: HUB/SUMS.gpg", "").replace("keys: [{keyring: mine}]\n", "")
    assert bring(unsigned, hub, tmp_path, "24")[1]["vmlinuz"].trust == "published"
    for file in (tmp_path / "store/sha256").iterdir():
        if b"kernel" in file.read_bytes():
            file.unlink()
    with pytest.raises(FetchError, match="the signature is not good"):
        bring(by_version, hub, tmp_path, "24")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"[" * 100_000])
def test_a_stream_that_changed_its_form_is_one_error(hub: GitHub, tmp_path: Path, body: bytes) -> None:
    hub.files["stable.json"] = body
    with pytest.raises(FetchError):
        bring(STREAM, hub, tmp_path)


def test_an_unknown_wish_names_the_ways(hub: GitHub, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="'nightly' is no T version") as caught:
        bring(STREAM, hub, tmp_path, "nightly")
    assert "stable|next" in caught.value.remedy
