"""Adapter: the SSH public keys that a GitHub user publishes."""

from __future__ import annotations

from rackctl.adapters.fetch.web import read_page
from rackctl.errors import FetchError

_URL = "https://github.com"
_MOST = 100 * 1024  # bytes; a user's keys are a few hundred


def fetch_keys(user: str, base: str = _URL) -> tuple[str, ...]:
    """The user's keys, one line each. base: where GitHub is. Raises FetchError."""
    url = f"{base}/{user}.keys"
    remedy = "check the name and the network, or put the keys into a .pub file beside rack.yml"
    body = read_page(url, remedy=remedy).body
    if len(body) > _MOST:
        raise FetchError(f"answers {len(body)} bytes", url, remedy)
    text = body.decode(errors="replace")
    lines = tuple(f"{line.strip()} {user}@github" for line in text.splitlines() if line.strip())
    if not lines or not all(line.startswith(("ssh-", "ecdsa-", "sk-")) for line in lines):
        raise FetchError("gives no SSH keys", url, remedy)
    return lines
