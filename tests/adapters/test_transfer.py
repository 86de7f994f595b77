"""How downloads go: side by side, by back-off with jitter, by the environment's proxy, told in lines."""

import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def tunnel_to(port: int) -> Iterator[tuple[str, list[str]]]:
    """The URL of a proxy that takes CONNECT alone and leads every name to this port here; what it was asked."""
    asked: list[str] = []

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode().strip())
            while self.rfile.readline().strip():
                pass
            with socket.create_connection(("127.0.0.1", port)) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=copy, args=(there, self.connection), daemon=True)
                back.start()
                copy(self.connection, there)
                back.join()

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}", asked
        proxy.shutdown()


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here to make a certificate")
def test_https_goes_through_the_proxy_by_connect_and_is_verified(
    hub: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, cert, key = "upstream.invalid", tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=DNS:upstream.invalid"
    subprocess.run([*words.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    hub.socket = context.wrap_socket(hub.socket, server_side=True)
    hub.files["k"] = KERNEL
    with tunnel_to(hub.server_port) as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)

        def fetch() -> bytes:
            url = f"https://{name}/objects/k"
            found = fetch_file(url, Store(tmp_path), name="k", report=lambda _line: None, expect_sha256=sha(KERNEL))
            return found.path.read_bytes()

        with pytest.raises(FetchError, match="certificate does not convince"):
            fetch()  # a proxy that looks inside, whose CA this machine does not know
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
        assert fetch() == KERNEL
    assert {line.rpartition(" ")[0] for line in asked} == {f"CONNECT {name}:443"}
    assert hub.paths() == ["/objects/k"]


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
