"""Core. Secrets taken out of text that leaves the machine: by their values where known, else by their names."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
LEAST = 4  # shorter values would mask half of the text
_NAMES = (
    r"(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|private[_-]?key|psk|credentials?|community|authorization)"
)
# Each word is read once, from its beginning: machines send words of 64 kB, and to try each of their ends takes minutes.
_PAIR = re.compile(
    rf"""(?P<head>(?<![\w.-])["']?(?=[\w.-]*?{_NAMES})[\w.-]++["']?\s*+[:=]\s*+)(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,;&}}\]"']+)""",
    re.IGNORECASE,
)
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_USERINFO = re.compile(r"(?<!\w)(\w++://[^\s/:@]+):[^\s/@]+@")
_HASH = re.compile(r"\$(?:1|2[aby]|5|6|y|argon2\w*)\$[./A-Za-z0-9$=,+-]{8,}")  # crypt(5)


def mask_text(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with each of `secrets`, also as base64 and in URLs, and what looks like one, replaced by ***."""
    for secret in sorted({s for one in secrets for s in _forms(one)}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _PEM.sub(lambda found: f"-----BEGIN {found[1]}-----\n{MASK}", text)
    text = _HASH.sub(MASK, text)
    text = _USERINFO.sub(rf"\1:{MASK}@", text)
    return _PAIR.sub(lambda found: found["head"] + MASK, text)


def _forms(secret: str) -> Iterable[str]:
    secret = secret.strip()
    if len(secret) < LEAST:
        return
    yield secret
    yield quote(secret, safe="")
    for line in secret.splitlines():
        if len(line.strip()) >= LEAST:
            yield line.strip()
    # In base64 a value looks different at each of three offsets; the middle part is the same.
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + secret.encode()).decode().rstrip("=")
        part = coded[4 if shift else 0 : len(coded) // 4 * 4 - 4 or None]
        if len(part) >= 8:
            yield part
