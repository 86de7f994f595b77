"""Adapter: reads what the services serve, over the wire, as a node would."""

from __future__ import annotations

import hashlib
import http.client
import socket
import struct
import time

from rackctl.errors import ServeError

# RFC 1350 section 5 opcodes; RFC 2347 section 2 for OACK.
_RRQ, _DATA, _ACK, _ERROR, _OACK = 1, 3, 4, 5, 6
_BLOCK = 1468  # fits an Ethernet frame of 1500 with IP, UDP and TFTP headers (RFC 2348)


def read_tftp(address: str, name: str, timeout: float = 2.0, tries: int = 3) -> bytes:
    """Read one whole file by TFTP from port 69. timeout is seconds a packet. Raises ServeError."""
    where = f"tftp://{address}/{name}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        request = struct.pack("!H", _RRQ) + f"{name}\0octet\0blksize\0{_BLOCK}\0".encode()
        peer, content, block, size = (address, 69), bytearray(), 0, 512
        packet, target, left = request, peer, tries
        while True:
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
            left, target = tries, sender
            opcode, number = struct.unpack("!HH", answer[:4])
            if opcode == _ERROR:
                raise ServeError(
                    f"TFTP error {number}: {answer[4:-1].decode(errors='replace')}",
                    where=where,
                    remedy="rackctl up publishes the files again",
                )
            if opcode == _OACK:
                size = _BLOCK
                packet = struct.pack("!HH", _ACK, 0)
            elif opcode == _DATA and number == (block + 1) & 0xFFFF:
                block += 1
                content += answer[4:]
                packet = struct.pack("!HH", _ACK, number)
                if len(answer) - 4 < size:
                    sock.sendto(packet, target)
                    return bytes(content)


def read_http(address: str, port: int, path: str) -> bytes:
    """GET one file. Raises ServeError."""
    where = f"http://{address}:{port}{path}"
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"User-Agent": "rackctl-probe"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as wrong:
        raise ServeError(
            f"no answer: {wrong}",
            where=where,
            remedy="docker logs of the microhttp container; a firewall on that TCP port?",
        ) from wrong
    finally:
        connection.close()
    if answer.status != 200:
        raise ServeError(f"HTTP status {answer.status}", where=where, remedy="rackctl up publishes the files again")
    return content


def prove_same(where: str, content: bytes, digest: str) -> None:
    """Raises ServeError when the bytes that came are not those that were published."""
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ServeError(
            f"{len(content)} bytes came with sha256 {found}, published was {digest}",
            where=where,
            remedy="is another server on this port? rackctl status",
        )


def wait_http(address: str, port: int, limit: float = 20.0) -> None:
    """Wait until the HTTP service answers. limit in seconds. Raises ServeError."""
    end = time.monotonic() + limit
    while True:
        try:
            read_http(address, port, "/healthz")
            return
        except ServeError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
