"""A Mac as its DHCP server sees it, after Apple's BSDPClient.c. Reads requests as JSON from stdin, prints the answers.

Written apart from rackctl: it must not share its mistakes. Runs in the client's network namespace, needs only Python.
"""

import json
import os
import socket
import struct
import sys
import time

COOKIE = bytes([99, 130, 83, 99])  # RFC 2131 section 3
DEVICE = "eth0"
PATIENCE, AGAIN = 20, 5  # seconds


def tlv(tag, value):
    return bytes([tag, len(value)]) + value


def vendor_options(ask):
    """Option 43 in the order of BSDPClient.c: LIST 1,2,[5],12; SELECT 1,2,[5],3,8."""
    if "vendor" in ask:
        return bytes.fromhex(ask["vendor"])
    raw = tlv(1, bytes([1 if ask["do"] == "list" else 2])) + tlv(2, b"\x01\x01")
    if ask["port"] != 68:
        raw += tlv(5, struct.pack("!H", ask.get("told_port", ask["port"])))
    if ask["do"] == "list":
        return raw + tlv(12, struct.pack("!H", 0x2000))
    return raw + tlv(3, socket.inet_aton(ask["server"])) + tlv(8, bytes.fromhex(ask["image"]))


def packet(ask, xid):
    """A BOOTREQUEST: INFORM for list, select and inform; DISCOVER and REQUEST else."""
    chaddr = bytes.fromhex(ask["mac"].replace(":", ""))
    inform = ask["do"] in ("list", "select", "inform")
    ciaddr = socket.inet_aton(ask["address"]) if inform else bytes(4)
    head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, xid, 0, 0 if inform else 0x8000)
    head += ciaddr + bytes(12) + chaddr + bytes(10) + bytes(64) + bytes(128)
    options = tlv(53, bytes([{"discover": 1, "request": 3}.get(ask["do"], 8)]))
    if ask["do"] == "request":
        options += tlv(50, socket.inet_aton(ask["wanted"])) + tlv(54, socket.inet_aton(ask["server"]))
    options += tlv(55, bytes(ask.get("parameters", [1, 3, 43, 60])))
    options += tlv(60, ask["class"].encode())
    raw = vendor_options(ask) if inform or "vendor" in ask else b""
    if raw:
        options += tlv(43, raw)
    if "user_class" in ask:
        options += tlv(77, ask["user_class"].encode())
    return head + COOKIE + options + b"\xff"


def read(raw):
    """An answer as a dict; option 43 may come in pieces (RFC 3396)."""
    options, at = {}, 240
    while at < len(raw) and raw[at] != 255:
        if raw[at] == 0:
            at += 1
            continue
        options[raw[at]] = options.get(raw[at], b"") + raw[at + 2 : at + 2 + raw[at + 1]]
        at += 2 + raw[at + 1]
    text = lambda field: field.split(b"\0")[0].decode()  # noqa: E731
    return {"op": raw[0], "xid": raw[4:8].hex(), "ciaddr": socket.inet_ntoa(raw[12:16]),
            "yiaddr": socket.inet_ntoa(raw[16:20]), "siaddr": socket.inet_ntoa(raw[20:24]),
            "chaddr": raw[28:34].hex(":"), "file": text(raw[108:236]), "size": len(raw),
            "options": {str(code): value.hex() for code, value in options.items()}}  # fmt: skip


def open_socket(address, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, DEVICE.encode())
    sock.bind((address, port))
    sock.setblocking(False)
    return sock


def exchange(ask):
    """Send one packet; the first answer to it, at the port asked from or at 68. It is sent again until there is one.

    wait: whoever expects silence says how many seconds of it are enough. from: the servers whose answers are waited
    for, and those of others for `least` seconds.
    """
    usual = {"mac": "00:16:cb:00:00:01", "address": "10.99.0.100", "port": 68}
    ask = {**usual, "wait": PATIENCE, "from": [], "least": 0.6, **ask}
    xid, wanted = os.urandom(4), set(ask["from"])
    sockets = {port: open_socket("", port) for port in {68, ask["port"]}}
    try:
        began, answers, sent = time.monotonic(), [], 0
        while (passed := time.monotonic() - began) < ask["wait"]:
            if passed >= sent * AGAIN and not answers:
                sockets[ask["port"]].sendto(packet(ask, xid), ("255.255.255.255", 67))
                sent += 1
            for port, sock in sockets.items():
                try:
                    raw, (sender, source) = sock.recvfrom(4096)
                except BlockingIOError:
                    continue
                if len(raw) >= 240 and raw[4:8] == xid:
                    answers.append({**read(raw), "from": sender, "source": source, "port": port})
            if answers and (not wanted or (passed >= ask["least"] and wanted <= {one["from"] for one in answers})):
                break
            time.sleep(0.005)
        return answers
    finally:
        for sock in sockets.values():
            sock.close()


def fetch(ask):
    """Read a file by TFTP (RFC 1350), as hex of its first bytes and its size; or the error."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(3)
    last, target = b"\0\x01" + ask["file"].encode() + b"\0octet\0", (ask["server"], 69)
    sock.sendto(last, target)
    content, block, other_end = b"", 1, None
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            raw, peer = sock.recvfrom(2048)
        except TimeoutError:
            sock.sendto(last, target)
            continue
        if other_end not in (None, peer):
            continue  # another answer to a request that was sent again
        other_end = target = peer
        if raw[:2] == b"\0\x05":
            return {"error": raw[4:-1].decode()}
        if raw[:2] == b"\0\x03" and raw[2:4] == struct.pack("!H", block & 0xFFFF):
            content += raw[4:]
            last = b"\0\x04" + raw[2:4]
            sock.sendto(last, peer)
            block += 1
            if len(raw) < 516:
                return {"size": len(content), "content": content.hex()}
    return {"error": f"no answer to {ask['file']}"}


if __name__ == "__main__":
    json.dump([fetch(one) if one["do"] == "tftp" else exchange(one) for one in json.load(sys.stdin)], sys.stdout)
