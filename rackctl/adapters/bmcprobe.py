"""Adapter: which protocols a BMC speaks. No secret is sent, nothing is changed."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import socket
import ssl
import threading

from rackctl.core.model_bmc import Bmc

# Get Channel Authentication Capabilities (IPMI 2.0 section 22.13) in an RMCP packet outside of any session.
_CAPABILITIES = bytes.fromhex("0600ff07 00 00000000 00000000 09 2018c8 81 00 38 8e 04 b5")
_RMCP = bytes.fromhex("0600ff07")
_WAIT = 6.0  # seconds; a BMC's processor takes two for a TLS handshake, and this machine may be busy


def find_driver(bmc: Bmc) -> str:
    """`redfish` before `ipmi`, `wol` for a BMC without address, or empty when nothing answers."""
    if not bmc.address:
        return "wol"
    if importlib.util.find_spec("sushy") and speaks_redfish(bmc):
        return "redfish"
    return "ipmi" if speaks_ipmi(bmc.address, bmc.port or 623) else ""


def speaks_ipmi(address: str, port: int) -> bool:
    """Whether something answers RMCP there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_WAIT / 2)
            sock.connect((address, port))
            for _ in range(2):  # UDP: once may be lost
                sock.send(_CAPABILITIES)
                try:
                    return sock.recv(512).startswith(_RMCP)
                except TimeoutError:
                    continue
    except OSError:
        pass
    return False


def speaks_redfish(bmc: Bmc) -> bool:
    """Whether a Redfish service root is there; DSP0266 has it readable by anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only asks who is there
    address = bmc.address or ""
    link = (
        http.client.HTTPSConnection(address, bmc.port or 443, timeout=_WAIT, context=context)
        if bmc.tls
        else http.client.HTTPConnection(address, bmc.port or 80, timeout=_WAIT)
    )
    sockets: list[socket.socket] = []

    def cut() -> None:
        for sock in sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    watchdog = threading.Timer(_WAIT, cut)  # the timeout is for each read: what drips would never be late
    watchdog.daemon = True
    try:
        link.connect()
        sockets.append(link.sock)
        watchdog.start()
        link.request("GET", "/redfish/v1/", headers={"Accept": "application/json"})
        answer = link.getresponse()
        return answer.status == 200 and "RedfishVersion" in json.loads(answer.read(65536))
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return False
    finally:
        watchdog.cancel()
        link.close()
