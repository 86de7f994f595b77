"""Adapter: the SSH public keys that a GitHub user publishes."""

from __future__ import annotations

from rackctl.errors import FetchError

_URL = "https://github.com"
_TIMEOUT = 20.0  # seconds
_MOST = 100 * 1024  # bytes; a user's keys are a few hundred


def fetch_keys(user: str, base: str = _URL) -> tuple[str, ...]:
    """The user's keys, one line each. base: where GitHub is. Raises FetchError."""
    import requests

    url = f"{base}/{user}.keys"
    remedy = "check the name and the network, or put the keys into a .pub file beside rack.yml"
    try:
        answer = requests.get(url, timeout=_TIMEOUT)
    except requests.RequestException as wrong:
        raise FetchError(f"cannot be fetched: {wrong}", url, remedy) from wrong
    if answer.status_code != 200 or len(answer.content) > _MOST:
        raise FetchError(f"answers {answer.status_code}, {len(answer.content)} bytes", url, remedy)
    lines = tuple(f"{line.strip()} {user}@github" for line in answer.text.splitlines() if line.strip())
    if not lines or not all(line.startswith(("ssh-", "ecdsa-", "sk-")) for line in lines):
        raise FetchError("gives no SSH keys", url, remedy)
    return lines
