"""Adapter: reads what the services serve, over the wire, as a node would."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

from rackctl.core.tree import Tree
from rackctl.errors import ServeError

# RFC 1350 section 5 opcodes; RFC 2347 section 2 for OACK.
_RRQ, _DATA, _ACK, _ERROR, _OACK = 1, 3, 4, 5, 6
AGENT = "rackctl-probe"  # microhttp writes no log line for it: it is no node
_IN_URLS = "%/?&=:;,+@~!$'()*[]"  # what a URL has unquoted already (RFC 3986 section 2.2)
_BLOCK = 1468  # fits an Ethernet frame of 1500 with IP, UDP and TFTP headers (RFC 2348)


def read_tftp(
    address: str,
    name: str,
    timeout: float = 2.0,
    tries: int = 3,
    most: int = 1 << 30,
    limit: float = 300.0,
    port: int = 69,
) -> bytes:
    """Read one whole file by TFTP, `most` bytes long. Raises ServeError and OSError.

    timeout is seconds a packet, limit seconds for all: a server that repeats itself must not keep us for ever.
    """
    where, end = f"tftp://{address}/{name}", time.monotonic() + limit
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        request = struct.pack("!H", _RRQ) + f"{name}\0octet\0blksize\0{_BLOCK}\0".encode()
        peer, content, block, size = (address, port), bytearray(), 0, 512
        packet, target, left, other_end = request, peer, tries, None
        while time.monotonic() < end:
            sock.sendto(packet, target)
            try:
                answer, sender = sock.recvfrom(65536)
            except TimeoutError:
                left -= 1
                if not left:
                    raise ServeError(
                        f"no answer after {tries} tries of {timeout:g} s",
                        where=where,
                        remedy="docker logs of the tftp container; a firewall on UDP 69?",
                    ) from None
                continue
            # RFC 1350 section 4: a busy server takes each repeated request for a new one, and answers all of them.
            if other_end not in (None, sender):
                continue
            left, target, other_end = tries, sender, sender
            if len(answer) < 4:
                raise ServeError(f"{len(answer)} bytes are no TFTP packet", where, "is another server on that port?")
            opcode, number = struct.unpack("!HH", answer[:4])
            if opcode == _ERROR:
                raise ServeError(
                    f"TFTP error {number}: {answer[4:-1].decode(errors='replace')}",
                    where=where,
                    remedy="rackctl up publishes the files again",
                )
            if opcode == _OACK and not block:
                size = _BLOCK
                packet = struct.pack("!HH", _ACK, 0)
            elif opcode == _DATA and number == (block + 1) & 0xFFFF:
                block += 1
                content += answer[4:]
                if len(content) > most:
                    raise ServeError(f"the file is longer than {most} bytes", where, "no loader is that large")
                packet = struct.pack("!HH", _ACK, number)
                if len(answer) - 4 < size:
                    sock.sendto(packet, target)
                    return bytes(content)
    raise ServeError(f"the file did not come within {limit:g} s", where, "is another server on that port?")


def prove_https(address: str, port: int, ca: str, limit: float = 20.0) -> None:
    """Ask over TLS, trusting this CA's certificate (PEM) alone, as iPXE does. Raises ServeError."""
    context = ssl.create_default_context(cadata=ca)
    end = time.monotonic() + limit
    where = f"https://{address}:{port}/healthz"
    while True:
        connection = http.client.HTTPSConnection(address, port, timeout=5, context=context)
        try:
            connection.request("GET", "/healthz", headers={"User-Agent": AGENT})
            status = connection.getresponse().status
            if status == 200:
                return
            raise ServeError(f"status {status}", where, "docker logs of the microhttp container")
        except (OSError, http.client.HTTPException) as wrong:
            if isinstance(wrong, ssl.SSLError) or time.monotonic() > end:
                raise ServeError(f"no good answer over TLS: {wrong}", where, "rackctl up makes it anew") from wrong
            time.sleep(0.2)
        finally:
            connection.close()


def prove_tree(address: str, port: int, tree: Tree, limit: float = 30.0) -> None:
    """Read the whole tree over the wire and compare sizes and hashes: tftp/ by TFTP, http/ by HTTP.

    limit: seconds that the services may take to answer at all. Raises ServeError.
    """
    wait_http(address, port, limit)
    tries = max(1, round(limit / 2))  # of 2 s each: what serves TFTP may start later than what serves HTTP
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        for path, digest in sorted(_sums(tree).items()):
            service, _, name = path.partition("/")
            if service == "tftp":
                where, found = f"tftp://{address}/{name}", _hash([read_tftp(address, name, tries=tries)])
            else:
                where, found = f"http://{address}:{port}/{name}", _hash_http(connection, quote(f"/{name}"))
            if found != digest:
                raise ServeError(
                    f"what came has sha256 {found}, published was {digest}", where, "is another server on this port?"
                )
    finally:
        connection.close()


def _sums(tree: Tree) -> dict[str, str]:
    rendered = {path: _hash([content]) for path, content in tree.files.items() if path.startswith(("tftp/", "http/"))}
    return {**rendered, **tree.artifacts}


def _hash(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()


def hash_http(address: str, port: int, target: str, most: int, limit: float) -> str:
    """sha256 of one file of any HTTP server, `most` bytes long and read within `limit` seconds. Raises ServeError.

    target: path and query as they stand in the URL.
    """
    connection = http.client.HTTPConnection(address, port, timeout=min(limit, 10))
    where, late = f"http://{address}:{port}{target}", threading.Event()
    found = ""
    try:
        connection.connect()
        with _cut_after(limit, connection.sock, late):
            found = _hash_http(connection, quote(target, safe=_IN_URLS), most)
    except OSError as wrong:
        raise ServeError(f"no answer: {wrong}", where, "is that the address of an HTTP server?") from wrong
    except ServeError:
        if not late.is_set():
            raise
    finally:
        connection.close()
    if late.is_set():
        raise ServeError(f"the file did not come within {limit:g} s", where, "is that server overloaded?")
    return found


@contextmanager
def _cut_after(limit: float, sock: socket.socket, late: threading.Event) -> Iterator[None]:
    """End the connection after `limit` seconds: a server that drips bytes meets no timeout of a socket."""

    def cut() -> None:
        late.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hash_http(connection: http.client.HTTPConnection, target: str, most: int = 1 << 40) -> str:
    """sha256 of one file, read in pieces: an initrd can have gigabytes."""
    where = f"http://{connection.host}:{connection.port}{target}"

    def pieces(answer: http.client.HTTPResponse) -> Iterator[bytes]:
        size = 0
        while piece := answer.read(1 << 20):
            size += len(piece)
            if size > most:
                raise ServeError(f"the file is longer than {most} bytes", where, "no loader is that large")
            yield piece

    try:
        connection.request("GET", target, headers={"User-Agent": AGENT})
        with connection.getresponse() as answer:
            found = _hash(pieces(answer))
    except (OSError, http.client.HTTPException) as wrong:
        raise ServeError(f"no answer: {wrong}", where, "a firewall on that TCP port? rackctl status") from wrong
    if answer.status != 200:
        raise ServeError(f"HTTP status {answer.status}", where, "rackctl up publishes the files again")
    return found


def wait_http(address: str, port: int, limit: float) -> None:
    """Wait until the HTTP service answers. limit in seconds. Raises ServeError."""
    end = time.monotonic() + limit
    while True:
        connection = http.client.HTTPConnection(address, port, timeout=5)
        try:
            _hash_http(connection, "/healthz")
            return
        except ServeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        finally:
            connection.close()
