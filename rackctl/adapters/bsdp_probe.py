"""Adapter: asks the BSDP responder as a Mac in Startup Disk does, from a port of its own."""

from __future__ import annotations

import os
import socket
import struct

from rackctl.core.bsdp import Message, Tag, encode_part, parse
from rackctl.errors import ConfigError, ServeError

_COOKIE = bytes([99, 130, 83, 99])  # RFC 2131 section 3
_INFORM, _ACK = 8, 5  # RFC 2132 section 9.6
_HEAD = 240  # bytes before the options: RFC 2131 figure 1 and the cookie
_REMEDY = "docker logs of the bsdp container; is UDP port 67 closed by a firewall, or held by another server?"


def ask_list(address: str, timeout: float = 2.0, tries: int = 10) -> Message:
    """The ACK[LIST] of the responder at this address of ours. timeout is seconds a try. Raises ServeError."""
    where = f"bsdp://{address}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.settimeout(timeout)
        sock.bind((address, 0))
        xid = os.urandom(4)  # one for all tries: a busy responder's answer to the first may come after the second
        for _ in range(tries):
            sock.sendto(_inform(address, xid), ("255.255.255.255", 67))
            try:
                while True:
                    answer, sender = sock.recvfrom(4096)
                    if sender[0] == address and answer[4:8] == xid:
                        return _read(answer, where)
            except TimeoutError:
                continue
    raise ServeError(f"no answer after {tries} tries of {timeout:g} s", where, _REMEDY)


def _inform(address: str, xid: bytes) -> bytes:
    mac = bytes([0x02, 0, 0, 0, 0, 1])  # locally administered: no card has it
    head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, xid, 0, 0) + socket.inet_aton(address)
    asked = encode_part(Tag.MESSAGE_TYPE, b"\x01") + encode_part(Tag.VERSION, b"\x01\x01")
    options = (
        bytes([53, 1, _INFORM, 55, 2, 43, 60]) + encode_part(60, b"AAPLBSDPC/i386/rackctl") + encode_part(43, asked)
    )
    return head.ljust(28, b"\0") + mac.ljust(_HEAD - 4 - 28, b"\0") + _COOKIE + options + b"\xff"


def _read(answer: bytes, where: str) -> Message:
    try:
        options = parse(answer[_HEAD:])  # DHCP's options have the same form: tag, length, value
        message = parse(options.get(43) or b"")
    except ConfigError as wrong:
        raise ServeError(f"an answer that no Mac can read: {wrong.message}", where, _REMEDY) from wrong
    if options.get(53) != bytes([_ACK]):
        raise ServeError("the answer is no ACK", where, _REMEDY)
    return message
