"""Adapter: this machine's addresses, ports and keys."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from rackctl.adapters.proc import run
from rackctl.errors import BusyError, ConfigError, RackError


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


def check_address(address: str) -> None:
    """Raises ConfigError when the address is not on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError as wrong:
            raise ConfigError(
                f"server.address {address} is not an address of this machine",
                where="rack.yml",
                remedy="ip -4 addr lists them; rackctl must run on the master",
            ) from wrong


def port_is_free(address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether the port can be bound now."""
    with socket.socket(socket.AF_INET, kind) as sock:
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
    udp = kind == socket.SOCK_DGRAM
    try:
        lines = run(["ss", "-Hlnp", "-u" if udp else "-t", f"sport = :{port}"], timeout=5).decode().splitlines()
        holder = lines[0].split("users:")[-1] if lines and "users:" in lines[0] else "a process that only root can see"
    except RackError:
        holder = "a process (install iproute2 to see which)"
    raise BusyError(f"port {port}/{'udp' if udp else 'tcp'} of {address} is held by {holder}", remedy=remedy)


def ssh_public_keys() -> list[str]:
    """The user's SSH public keys, one line each."""
    return [file.read_text().strip() for file in sorted(Path.home().glob(".ssh/*.pub"))]
