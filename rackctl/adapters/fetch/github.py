"""Adapter: GitHub's releases API: every published tag, page by page."""

from __future__ import annotations

import datetime
import os
import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rackctl.adapters.fetch import transfer
from rackctl.errors import FetchError

if TYPE_CHECKING:
    import requests

API = "https://api.github.com"
_PAGES = 50  # of 100 releases each


def list_releases(repository: str, api_url: str = "") -> list[str]:
    """The tags of `owner/name` that are neither draft nor prerelease, in GitHub's order.

    api_url (or the environment's RACKCTL_GITHUB_API) names another server. GITHUB_TOKEN is sent to that server alone.
    Raises FetchError, which explains an exhausted rate limit.
    """
    import requests

    base = (api_url or os.environ.get("RACKCTL_GITHUB_API") or API).rstrip("/")
    headers = {**transfer.HEADERS, "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if token := os.environ.get("GITHUB_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    url = f"{base}/repos/{repository}/releases?per_page=100"
    tags: list[str] = []
    with requests.Session() as session:
        for _ in range(_PAGES):
            answer = _ask(session, url, headers)
            tags += [str(one["tag_name"]) for one in _read(answer, url) if _is_published(one)]
            following = answer.links.get("next", {}).get("url")
            if not following:
                break
            if urlsplit(following)[:2] != urlsplit(base)[:2]:
                raise FetchError(f"its next page is on another host: {following}", url, "do not trust this server")
            url = following
    return tags


def _is_published(release: Mapping[str, Any]) -> bool:
    return bool(release.get("tag_name")) and not release.get("draft") and not release.get("prerelease")


def _ask(session: requests.Session, url: str, headers: Mapping[str, str]) -> requests.Response:
    import requests

    problem = ""
    for attempt in range(transfer.TRIES):
        if attempt:
            time.sleep(transfer.PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 no secret
        try:
            answer = session.get(url, headers=headers, timeout=transfer.TIMEOUT, allow_redirects=False)
        except requests.RequestException as wrong:
            problem = f"{type(wrong).__name__}: {wrong}"
            continue
        if answer.status_code == 200:
            return answer
        if answer.status_code in (403, 429) and _is_limited(answer):
            raise _limited(answer, url)
        problem = f"the server answered {answer.status_code} {answer.reason or ''}".strip()
        if answer.status_code < 500:
            break
    raise FetchError(problem, url, "name an exact version: that needs no list of versions")


def _is_limited(answer: requests.Response) -> bool:
    return answer.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in answer.headers


def _limited(answer: requests.Response, url: str) -> FetchError:
    reset, limit = answer.headers.get("X-RateLimit-Reset", ""), answer.headers.get("X-RateLimit-Limit", "?")
    until = ""
    if reset.isascii() and reset.isdigit() and len(reset) < 12:
        until = f" until {datetime.datetime.fromtimestamp(int(reset), datetime.UTC):%H:%M} UTC"
    elif after := answer.headers.get("Retry-After"):
        until = f" for {after} s"
    return FetchError(
        f"GitHub's limit of {limit} requests an hour is used up{until}",
        url,
        "set GITHUB_TOKEN for 5000 an hour, wait, or name an exact version: that needs no list of versions",
    )


def _read(answer: requests.Response, url: str) -> list[dict[str, Any]]:
    try:
        found = answer.json()
    except ValueError as wrong:
        raise FetchError(f"the answer is not JSON: {wrong}", url, "is there a proxy in between?") from wrong
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FetchError("the answer is not a list of releases", url, "is there a proxy in between?")
    return found
