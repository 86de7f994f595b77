"""Core. The Wake-on-LAN magic packet."""

from __future__ import annotations

import re

from rackctl.errors import ConfigError

PORT = 9  # discard, by habit: cards look at the content alone
_SECUREON = re.compile(r"[0-9a-fA-F]{12}")


def magic_packet(mac: str, secureon: str | None = None) -> bytes:
    """Six bytes of FF, the MAC sixteen times, and the SecureOn password when the card wants one: 102 or 108 bytes.

    mac: colon form. secureon: six pairs of hex digits, like a MAC. Raises ConfigError when it is not.
    """
    packet = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16
    if secureon is None:
        return packet
    digits = re.sub(r"[:.-]", "", secureon)
    if not _SECUREON.fullmatch(digits):
        raise ConfigError("a SecureOn password has six pairs of hex digits", remedy="write it like a MAC to its secret")
    return packet + bytes.fromhex(digits)
