"""Core. Rules SK0xx: SSH keys. A key that sshd does not take is a machine that nobody can reach."""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterator

from rackctl.core.lint.header import CloudConfig
from rackctl.core.lint.rules import Edit, Finding, check, rule
from rackctl.core.yamldoc import Value

_GOOD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0rAHXRQx9eXTmXdPvLRdC8eGGw9ODmoLQ3ajwrzwSv me@here"
_DSA = "ssh-dss AAAAB3NzaC1kc3MAAAAEAQIDBAAAAAQBAgMEAAAABAECAwQAAAAEAQIDBA== me@here"
_HEAD = "#cloud-config\nssh_authorized_keys:\n"
_TYPE = re.compile(
    r"(?:^|\s)((?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com))"
    r"\s+(\S+)"
)
_PLACEHOLDER = re.compile(r"\.\.\.|…|<[^>]*>|\$\{|\{\{|X{4,}|your[-_ ]?(public[-_ ]?)?key", re.IGNORECASE)

PRIVATE_KEY = rule(
    "SK001", "cloud-config", "error", "a PRIVATE key stands where the public one belongs",
    why="The file is served to anyone who asks. A private key in it is lost: make a new pair, and use the .pub file.",
    bad=_HEAD + "- |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n  b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n"
    "  -----END OPENSSH PRIVATE KEY-----\n",
    good=_HEAD + f"- {_GOOD}\n",
)  # fmt: skip
MALFORMED_KEY = rule(
    "SK002", "cloud-config", "error", "a key that is no SSH public key",
    why="sshd skips a line that it cannot read, and says so only in its own log: nobody gets in.",
    bad=_HEAD + f"- {_GOOD[:60]}\n", good=_HEAD + f"- {_GOOD}\n",
)  # fmt: skip
WEAK_KEY = rule(
    "SK003", "cloud-config", "warning", "a key that OpenSSH no longer takes",
    why="ssh-dss is off since OpenSSH 7.0, and RSA below 2048 bits is refused by many systems.",
    bad=_HEAD + f"- {_DSA}\n", good=_HEAD + f"- {_GOOD}\n",
)  # fmt: skip
BROKEN_LINE = rule(
    "SK004", "cloud-config", "error", "a key broken over several lines",
    why="A key is one line. Pasted from a terminal it often carries line ends, and each piece alone is no key.",
    bad=_HEAD + f"- |\n  {_GOOD[:40]}\n  {_GOOD[40:]}\n", good=_HEAD + f"- {_GOOD}\n",
)  # fmt: skip
SAME_KEY = rule(
    "SK005", "cloud-config", "warning", "a key stands twice",
    why="Harmless to sshd, but `ros config validate` wants each item once, and one of the two is often a wrong paste.",
    bad=_HEAD + f"- {_GOOD}\n- {_GOOD.replace('me@here', 'you@there')}\n", good=_HEAD + f"- {_GOOD}\n",
)  # fmt: skip
PLACEHOLDER_KEY = rule(
    "SK006", "cloud-config", "warning", "a sample instead of a key",
    why="`ssh-rsa AAA...` from a manual opens no door.",
    bad=_HEAD + "- ssh-rsa AAA...ZZZ me@here\n", good=_HEAD + f"- {_GOOD}\n",
)  # fmt: skip


@check("cloud-config")
def check_keys(doc: CloudConfig) -> Iterator[Finding]:
    """ssh_authorized_keys, and private keys anywhere."""
    keys = doc.find("ssh_authorized_keys")
    values = keys.items if keys and keys.kind == "list" else [keys] if keys and keys.kind == "str" else []
    seen: dict[str, int] = {}
    for value in values:
        fault = key_fault(value.text) if value.kind == "str" else None
        if fault:
            yield _finding(value, *fault)
        body = _TYPE.search(value.text)
        if body and seen.setdefault(body[2], value.line) != value.line:
            yield SAME_KEY.at(value.line, value.column, f"the key of line {seen[body[2]]} again")


def _finding(value: Value, code: str, message: str) -> Finding:
    rules = {one.code: one for one in (PRIVATE_KEY, MALFORMED_KEY, WEAK_KEY, BROKEN_LINE, PLACEHOLDER_KEY)}
    fix: tuple[Edit, ...] = ()
    if code == BROKEN_LINE.code:
        joined = re.sub(r"\s*\n\s*", "", value.text.strip())
        if key_fault(joined) is None:
            fix = (Edit(value.line, value.column, value.end_line, value.end_column, joined + "\n"),)
    return rules[code].at(value.line, value.column, message, *fix)


@functools.lru_cache(maxsize=4096)
def key_fault(text: str) -> tuple[str, str] | None:
    """Code and message of what is wrong with one line of authorized_keys; None for a good one."""
    if "PRIVATE KEY-----" in text:
        return "SK001", "this is a PRIVATE key, and it is to be served: make a new pair, paste the .pub file"
    if "\n" in text.strip():
        return "SK004", "the key is broken over several lines; it must be one"
    match = _TYPE.search(text)
    if _PLACEHOLDER.search(match[2] if match else text):
        return "SK006", "this is a sample, not a key"
    if not match:
        return "SK002", "no SSH public key; paste one line of ~/.ssh/*.pub"
    return _blob_fault(match[1], match[2])


def _blob_fault(kind: str, encoded: str) -> tuple[str, str] | None:
    try:
        fields = _fields(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return "SK002", "the key's base64 text is damaged or cut off"
    if not fields or fields[0].decode(errors="replace") != kind:
        return "SK002", f"the key says {kind}, its content says otherwise"
    if kind == "ssh-dss":
        return "SK003", "ssh-dss is refused since OpenSSH 7.0"
    if kind == "ssh-ed25519" and (len(fields) != 2 or len(fields[1]) != 32):
        return "SK002", "an ed25519 key holds 32 bytes; this one does not"
    if kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length() if len(fields) == 3 else 0
        if bits < 1024:
            return "SK002", "the RSA key is damaged or cut off"
        if bits < 2048:
            return "SK003", f"the RSA key has {bits} bits; 2048 is the least that is taken everywhere"
    return None


def _fields(blob: bytes) -> list[bytes]:
    """The strings of RFC 4251 section 5 that a key consists of. Raises ValueError when they do not fill it exactly."""
    found, at = [], 0
    while at < len(blob):
        size = int.from_bytes(blob[at : at + 4], "big")
        if at + 4 + size > len(blob):
            raise ValueError("cut off")
        found.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    return found
