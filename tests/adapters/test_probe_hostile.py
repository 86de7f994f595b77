"""Servers that an audit is pointed at by a stranger: none of them may keep it for ever, fill its memory or break it."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rackctl.adapters import probe
from rackctl.dhcp import _outside
from rackctl.errors import ServeError

LIMIT = 0.5  # seconds


@contextmanager
def tftp(answers: list[bytes]) -> Iterator[int]:
    """A TFTP server that sends these packets, the last of them again and again; yields its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            left = list(answers)
            while True:
                peer = sock.recvfrom(2048)[1]
                if peer[1] == sock.getsockname()[1]:
                    return
                sock.sendto(left.pop(0) if len(left) > 1 else left[0], peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield sock.getsockname()[1]
        sock.sendto(b"", sock.getsockname())
        thread.join(5)


@contextmanager
def http(*parts: bytes) -> Iterator[int]:
    """An HTTP server that sends these parts, the last of them until the client has gone; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                try:
                    for part in parts[:-1]:
                        peer.sendall(part)
                    while parts[-1]:
                        peer.sendall(parts[-1])
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([b"\0"], "no TFTP packet"),
        ([b""], "no TFTP packet"),
        ([b"\0\6blksize\x001468\0"], "did not come within"),
        ([b"\0\3\0\1" + b"x" * 512], "did not come within"),
        ([b"\0\x63\0\1"], "did not come within"),
        ([b"\0\5\0\1\x1b[2J"], "TFTP error 1"),
    ],
    ids=["one byte", "nothing", "OACK for ever", "one block for ever", "no such opcode", "an error"],
)
def test_a_tftp_server_that_misbehaves_is_left(answers: list[bytes], says: str) -> None:
    with tftp(answers) as port, pytest.raises(ServeError) as caught:
        # What ends by itself has all the time of a busy machine, what never ends has none.
        limit = LIMIT if "within" in says else 60
        probe.read_tftp("127.0.0.1", "x.efi", timeout=10, tries=6, limit=limit, port=port)
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([b"\0\xff\r\n\r\n", b""], "no answer"),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: many\r\n\r\n", b"x" * 4096], "longer than"),
        ([b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 4096], "longer than"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"], "no answer"),
        ([b"HTTP/1.0 200 OK\r\n" + b"a: b\r\n" * 500, b""], "no answer"),
    ],
    ids=["no HTTP", "a length of letters", "no end", "broken chunks", "endless headers"],
)
def test_an_http_server_that_misbehaves_is_left(parts: list[bytes], says: str) -> None:
    with http(*parts) as port, pytest.raises(ServeError) as caught:
        probe.hash_http("127.0.0.1", port, "/x.efi", 1 << 20, 60)
    assert says in caught.value.message


def test_a_tftp_server_that_answers_late_and_each_request_is_read_whole() -> None:
    """RFC 1350 section 4: a request that was sent again gets an answer of its own, from another port."""
    with contextlib.ExitStack() as stack:
        front, *ends = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        for sock in (front, *ends):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(60)

        def serve() -> None:
            peers = [front.recvfrom(2048)[1] for _ in ends]  # as many requests before the first answer
            for end in ends:
                end.sendto(b"\0\6blksize\x001468\0", peers[0])
            with contextlib.suppress(OSError):
                for number, part in ((1, b"a" * 1468), (2, b"b" * 1468), (3, b"c")):
                    for end in reversed(ends):
                        end.sendto(b"\0\3\0" + bytes([number]) + part, peers[0])
                    while ends[0].recvfrom(2048)[0] != b"\0\4\0" + bytes([number]):
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = front.getsockname()[1]
        found = probe.read_tftp("127.0.0.1", "x.efi", timeout=0.2, tries=300, limit=60, port=port)
        thread.join(60)
        ends[1].setblocking(False)
        with pytest.raises(BlockingIOError):  # nothing was said to the other answer
            ends[1].recvfrom(2048)
    assert found == b"a" * 1468 + b"b" * 1468 + b"c"


def test_an_http_server_that_drips_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                for _ in range(600):
                    peer.sendall(b"x")
                    time.sleep(0.1)
                done.set()

        done = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(ServeError) as caught:
            probe.hash_http("127.0.0.1", server.getsockname()[1], "/x.efi", 1 << 20, LIMIT)
        assert "did not come within" in caught.value.message
        thread.join(60)
        assert not thread.is_alive() and not done.is_set(), "it was heard out"


def test_the_query_of_a_url_is_asked_for_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked: list[bytes] = []

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                asked.append(peer.recv(4096))
                peer.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        probe.hash_http("127.0.0.1", server.getsockname()[1], "/a%20b.efi?m=52:54", 1 << 20, LIMIT)
        thread.join(5)
    assert asked[0].startswith(b"GET /a%20b.efi?m=52:54 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0.0.0.0", "224.0.0.1", "169.254.169.254", "255.255.255.255"]
)
def test_no_stranger_points_us_at_ourselves(host: str) -> None:
    with pytest.raises(ServeError):
        _outside(host)


def test_another_machine_is_another_machine() -> None:
    assert _outside("10.98.0.2") == "10.98.0.2"
