"""Adapter: this machine's addresses, ports and keys."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from rackctl.errors import BusyError, ConfigError


def default_address() -> str:
    """The address that this machine uses towards its default route; no packet is sent. Raises ConfigError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("203.0.113.1", 9))  # RFC 5737 documentation address: only the route is looked up
            return str(sock.getsockname()[0])
        except OSError as wrong:
            raise ConfigError(
                "this machine has no default route", remedy="name the address: rackctl init --server ADDRESS"
            ) from wrong


def check_address(address: str, where: Callable[[], str] = str) -> None:
    """Raises ConfigError when the address is not on this machine. where: tells the place that names it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            if address == "0.0.0.0":  # noqa: S104 it can be bound, but no node can ask it
                raise OSError("any address")
            sock.bind((address, 0))
        except OSError as wrong:
            raise ConfigError(
                f"server.address {address} is not an address of this machine",
                where=where(),
                remedy="ip -4 addr lists them; rackctl must run on the master",
            ) from wrong


def port_is_free(address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether the port can be bound now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        # On UDP it would let two servers share the port, and each would miss the packets of the other.
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError as wrong:
            return wrong.errno not in (errno.EADDRINUSE,)
        return True


def require_port(address: str, port: int, kind: socket.SocketKind, remedy: str) -> None:
    """Raises BusyError that names the process holding the port."""
    if port_is_free(address, port, kind):
        return
    protocol = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    holder = _find_holder(_inodes(address, port, protocol)) or "a process that this user cannot see; root can"
    raise BusyError(f"port {port}/{protocol} of {address} is held by {holder}", remedy=remedy)


def _inodes(address: str, port: int, protocol: str) -> set[str]:
    """The kernel's numbers of the sockets that have this port, from /proc/net (proc(5))."""
    packed = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}"
    found = set()
    for table in (protocol, protocol + "6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            host, _, number = fields[1].partition(":")
            listens = protocol == "udp" or fields[3] == "0A"  # TCP_LISTEN
            mine = host in (packed, "0" * len(host)) or host.endswith(packed)  # the last: IPv4 within IPv6
            if listens and mine and int(number, 16) == port:
                found.add(fields[9])
    return found


def _find_holder(inodes: set[str]) -> str:
    """`name (pid N)` of the first process that has one of these sockets open; empty when none can be seen."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda one: int(one.name)):
        if wanted & _open_files(folder):
            with contextlib.suppress(OSError):
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    return ""


def _open_files(folder: Path) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # another user's process, or gone by now
        for link in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(link))
    return found


def ssh_public_keys() -> list[str]:
    """The user's SSH public keys, one line each; none when they cannot be read."""
    found = []
    for file in sorted(Path(os.path.expanduser("~")).glob(".ssh/*.pub")):
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        # sshd(8): a key's line begins with its type. A file in PEM or RFC 4716 form has no such line.
        found += [line.strip() for line in lines if line.startswith(("ssh-", "ecdsa-", "sk-"))]
    return found
