"""fetch against servers that lie: each answer is scripted byte by byte, and nothing wrong may come into the store."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_github import KERNEL, GitHub, sha

from rackctl.adapters.fetch import Store, fetch_file, session, transfer, web
from rackctl.adapters.fetch.web import read_page
from rackctl.errors import BusyError, FetchError

BODY = KERNEL[:5000]


class Script:
    """A TCP server; each connection is given to the next of `answers`, and the last answers the rest."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/k"
        self.answers: list[Callable[[socket.socket], None]] = []
        self.asked: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                self.asked.append(peer.recv(65536).decode())
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                answer(peer)

    def ranges(self) -> list[str]:
        return [line[13:] for one in self.asked for line in one.split("\r\n") if line.startswith("Range: bytes=")]


def says(status: str, body: bytes = b"", length: int | None = None, **headers: str) -> Callable[[socket.socket], None]:
    told = {"Content_Length": str(len(body) if length is None else length), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items() if value)
    return lambda peer: peer.sendall(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    one = Script()
    threading.Thread(target=one.serve, daemon=True).start()
    yield one
    one.socket.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def get(url: str, store: Store, digest: str | None = None, size: int | None = None) -> bytes:
    found = fetch_file(url, store, name="k", expect_sha256=digest, expect_size=size, report=lambda _line: None)
    return found.path.read_bytes()


def kept(store: Store) -> list[str]:
    return [file.name for file in (store.root / "sha256").glob("*")]


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("digest", [sha(BODY), None], ids=["pinned", "any"])
def test_a_cut_at_each_tenth_is_resumed(script: Script, store: Store, tenth: int, digest: str | None) -> None:
    cut, size = len(BODY) * tenth // 10, len(BODY)
    rest = says("206 x", BODY[cut:], ETag='"a"', Content_Range=f"bytes {cut}-{size - 1}/{size}")
    script.answers = [says("200 x", BODY[:cut], size, ETag='"a"'), rest]
    assert get(script.url, store, digest) == BODY and script.ranges() == [f"{cut}-"]


def test_a_part_of_what_was_asked_for_is_gone_on_with(script: Script, store: Store) -> None:
    ranges = [(0, 2000), (2000, 3000), (3000, 5000)]
    parts = [says("206 x", BODY[a:b], ETag='"a"', Content_Range=f"bytes {a}-{b - 1}/5000") for a, b in ranges]
    script.answers = [says("200 x", BODY[:2000], 5000, ETag='"a"'), *parts[1:]]
    assert get(script.url, store) == BODY and script.ranges() == ["2000-", "3000-"]


@pytest.mark.parametrize("span", ["", "bytes 0-999/5000", "bytes 0-999/1000", "bytes */5000", "bytes 0-999/*"])
def test_a_part_that_was_not_asked_for_is_never_kept(script: Script, store: Store, span: str) -> None:
    script.answers = [says("206 x", BODY[:1000], ETag='"a"', Content_Range=span)]
    with pytest.raises(FetchError, match="gave up"):
        get(script.url, store)
    assert not kept(store)


@pytest.mark.parametrize("tag", ['"b"', ""])
@pytest.mark.parametrize("digest", [None, sha(BODY)], ids=["any", "pinned"])
def test_two_versions_are_not_mixed_by_a_server_without_if_range(
    script: Script, store: Store, tag: str, digest: str | None
) -> None:
    old = bytes(reversed(BODY))
    more = says("206 x", BODY[1000:], ETag=tag, Content_Range="bytes 1000-4999/5000")
    script.answers = [says("200 x", old[:1000], 5000, ETag='"a"'), more, says("200 x", BODY, ETag='"b"')]
    assert get(script.url, store, digest) == BODY and kept(store) == [sha(BODY)]


def test_bytes_that_a_power_cut_spoilt_are_fetched_anew(script: Script, store: Store) -> None:
    part = store.part(script.url, sha(BODY))
    part.write_bytes(bytes(1000))
    part.with_suffix(".etag").write_text('"a"')
    more = says("206 x", BODY[1000:], ETag='"a"', Content_Range="bytes 1000-4999/5000")
    script.answers = [more, says("200 x", BODY, ETag='"a"')]
    assert get(script.url, store, sha(BODY)) == BODY and not (store.root / "bad").exists()


def test_a_length_that_is_too_short_or_too_long_is_found_out(script: Script, store: Store) -> None:
    script.answers = [says("200 x", BODY, 100)]
    with pytest.raises(FetchError, match="sha256 is"):
        get(script.url, store, sha(BODY))
    script.answers = [says("200 x", BODY, 100)]
    with pytest.raises(FetchError, match="wrong size: received 100 bytes, expected 5000"):
        get(script.url, store, size=5000)
    script.answers = [says("200 x", BODY, 6000)]
    with pytest.raises(FetchError, match="5000 of 6000 bytes"):
        get(script.url, store)
    assert not kept(store)


@pytest.mark.parametrize("length", ["-1", "9" * 5000, "1e3", "x", " "])
def test_a_length_that_is_none_is_no_traceback(script: Script, store: Store, length: str) -> None:
    script.answers = [says("200 x", BODY, Content_Length=length)]
    with contextlib.suppress(FetchError):
        get(script.url, store, sha(BODY))
    assert kept(store) in ([], [sha(BODY)])


def test_a_body_of_unknown_length_is_not_pinned(script: Script, store: Store) -> None:
    script.answers = [says("200 x", BODY, Content_Length="")]
    with pytest.raises(FetchError, match="whether it comes whole cannot be known"):
        get(script.url, store)
    assert get(script.url, store, sha(BODY)) == BODY


def test_a_packed_body_is_not_pinned(script: Script, store: Store) -> None:
    script.answers = [says("200 x", BODY, Content_Encoding="gzip")]
    with pytest.raises(FetchError, match="gzip-coded"):
        get(script.url, store)
    assert get(script.url, store, sha(BODY)) == BODY
    assert get(script.url.replace("/k", "/k.tar.gz"), Store(store.root / "b")) == BODY


def test_an_endless_body_stops_before_the_disk_is_full(
    script: Script, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([1 << 40, 1 << 40, 1000, 1 << 40])

    def shrink(_path: Path) -> object:
        return SimpleNamespace(free=next(free))

    def endless(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            peer.sendall(b"100000\r\n" + bytes(0x100000) + b"\r\n")

    script.answers = [endless]
    monkeypatch.setattr(transfer, "_LOOK", 4 << 20)
    monkeypatch.setattr(shutil, "disk_usage", shrink)
    with pytest.raises(BusyError, match="more room is needed"):
        get(script.url, store)
    assert not list((store.root / "partial").glob("*.part"))
    monkeypatch.setattr(transfer, "_EXCESS", 4 << 20)
    with pytest.raises(FetchError, match="wrong size"):
        get(script.url, store, size=10)


def test_a_chunked_body_that_is_cut_is_not_whole(script: Script, store: Store) -> None:
    script.answers = [lambda peer: peer.sendall(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")]
    with pytest.raises(FetchError, match="the connection broke"):
        get(script.url, store)
    assert not kept(store)


def test_a_server_that_trickles_is_left(script: Script, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def trickle(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 x\r\nContent-Length: 5000\r\n\r\n")
        for byte in BODY:
            peer.sendall(bytes([byte]))
            threading.Event().wait(0.02)

    script.answers = [trickle]
    monkeypatch.setattr(transfer, "PATIENCE", 0.2)
    monkeypatch.setattr(web, "LONGEST", 0.3)
    with pytest.raises(FetchError, match=r"the server sent \d+ bytes in \d+ s"):
        get(script.url, store, sha(BODY))
    with pytest.raises(FetchError, match="the page took longer than"):
        read_page(script.url)


@pytest.mark.parametrize(
    "target", ["/k", "http://[", "http://h:99999/", "ftp://h/x", "file:///etc/passwd", "http://\xff\xfe/"]
)
def test_redirects_that_lead_nowhere_are_one_error(script: Script, store: Store, target: str) -> None:
    script.answers = [says("302 x", Location=target)]
    for ask in (lambda: get(script.url, store), lambda: read_page(script.url)):
        with pytest.raises(FetchError) as caught:
            ask()
        assert caught.value.where == script.url and caught.value.remedy and len(caught.value.message) < 120


NOISE = ("urllib3", "HTTPConnectionPool", "Errno", "object at 0x", "Exception", "Max retries")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/k", "http://no-such-host.invalid/k", "http://127.0.0.1:1:1/k"])
def test_faults_are_told_in_plain_words(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for ask in (lambda: get(url, store), lambda: read_page(url)):
        with pytest.raises(FetchError) as caught:
            ask()
        assert not [word for word in NOISE if word in str(caught.value)], caught.value


@pytest.mark.parametrize("value", ["Mon, 01 Jan 2024 00:00:00 -0000", "9" * 400, "Mon, 99 Jan 99999", "soon", "-1"])
def test_any_retry_after_is_a_number_of_seconds(value: str) -> None:
    assert transfer._retry_after(value) == 0.0


def test_a_page_is_cut_or_no_json(script: Script) -> None:
    script.answers = [says("200 x", b"[1", 5)]
    with pytest.raises(FetchError, match="the connection broke"):
        read_page(script.url)


class Tls:
    """An https server that redirects to `target`, with a certificate for 127.0.0.1 that was made here."""

    def __init__(self, folder: Path, target: str) -> None:
        files = ["-keyout", str(folder / "k.pem"), "-out", str(folder / "c.pem")]
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *subject],
                       check=True, capture_output=True)  # fmt: skip

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_args: object) -> None:
                pass

            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", target)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "c.pem", folder / "k.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/k"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here to make a certificate")
def test_https_does_not_lead_to_http_unless_the_sum_is_known(
    script: Script, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = Tls(tmp_path, script.url)
    script.answers = [says("200 x", BODY)]
    with pytest.raises(FetchError, match="its certificate does not convince: self") as caught:
        get(tls.url, store)
    assert not [word for word in NOISE if word in str(caught.value)]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "c.pem"))
    for ask in (lambda: get(tls.url, store), lambda: read_page(tls.url)):
        with pytest.raises(FetchError, match="from https to plain http"):
            ask()
    assert not script.asked
    told: list[str] = []
    fetch_file(tls.url, store, name="k", expect_sha256=sha(BODY), report=told.append)
    assert kept(store) == [sha(BODY)] and any("https led to plain http" in line for line in told)
    tls.server.shutdown()


def test_a_hostile_list_of_releases_is_one_error(hub: GitHub) -> None:
    from rackctl.adapters.fetch.github import list_releases

    for body in (b"[" * 100_000, b'{"a": 1}', b"[1, 2]", b'"x"', b"\xff\xfe"):
        hub.raw = body
        with pytest.raises(FetchError):
            list_releases("rancher/os")
    hub.raw = json.dumps([{"tag_name": 7}, {"tag_name": ["v1"]}, {}, {"tag_name": "v1.5.8"}]).encode()
    assert list_releases("rancher/os") == ["v1.5.8"]


def test_a_digest_that_is_a_path_touches_no_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for digest in ("../../mine", "a" * 63, "A" * 64, "/etc/passwd"):
        with pytest.raises(FetchError, match="is no sha256"):
            fetch_file("http://127.0.0.1:1/k", store, name="k", expect_sha256=digest, report=print)
    assert (tmp_path / "mine").read_text() == "precious"


def test_what_the_disk_may_not_have_yet_is_read_again(script: Script, store: Store) -> None:
    script.answers = [says("200 x", BODY)]
    get(script.url, store, sha(BODY))
    file = store.path(sha(BODY))
    # As a power cut leaves it: the name and the times are on the disk, the content is not.
    before = file.stat()
    file.write_bytes(bytes(len(BODY)))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    script.asked.clear()
    from rackctl.adapters.fetch import store as module

    module._fresh.clear()  # another process
    assert get(script.url, store, sha(BODY)) == BODY and len(script.asked) == 1
    store.settle(sha(BODY))
    module._fresh.clear()
    assert store.find(sha(BODY)) == file and file.stat().st_mtime_ns % 1_000_000_000 == 0
    store.settle("0" * 64)  # not here: nothing to wait for


def test_certificates_of_a_wrong_clock_name_the_clock() -> None:
    from requests.exceptions import SSLError

    text = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid (_ssl.c:1)"
    message, remedy = session.explain_fault(SSLError(text))
    assert message.endswith("certificate is not yet valid") and "clock" in remedy


def test_a_store_that_one_may_not_write_to_is_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied", str(store.root))

    monkeypatch.setattr(os, "utime", refuse)  # root may do anything: a real read-only folder would not refuse it
    store.path(sha(BODY)).parent.mkdir(parents=True)
    store.path(sha(BODY)).write_bytes(BODY)
    assert get("http://127.0.0.1:1/k", store, sha(BODY)) == BODY
