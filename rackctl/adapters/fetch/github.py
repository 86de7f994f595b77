"""Adapter: GitHub's releases API: every published tag, page by page."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rackctl.adapters.fetch.web import Page, read_page
from rackctl.errors import FetchError

if TYPE_CHECKING:
    import requests

API = "https://api.github.com"
_DOWNLOADS = "https://github.com/{}/releases/download/"
_PAGES = 50  # of 100 releases each
_REMEDY = "look at the network; or name an exact version, which needs no list; or set RACKCTL_GITHUB_API to a mirror"


def list_releases(repository: str, cache: Path | None = None) -> list[str]:
    """The tags of `owner/name` that are neither draft nor prerelease, in GitHub's order.

    The environment's RACKCTL_GITHUB_API names another server. GITHUB_TOKEN is sent to that server alone. Raises
    FetchError, which explains an exhausted rate limit.
    """
    base = (os.environ.get("RACKCTL_GITHUB_API") or API).rstrip("/")
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    if token := os.environ.get("GITHUB_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    url = f"{base}/repos/{repository}/releases?per_page=100"
    tags: list[str] = []
    for _ in range(_PAGES):
        page = read_page(url, cache, headers, _explain, _REMEDY)
        tags += [one["tag_name"] for one in _read(page, url) if _is_published(one)]
        if not page.following:
            break
        if urlsplit(page.following)[:2] != urlsplit(base)[:2]:
            raise FetchError(f"its next page is on another host: {page.following}", url, "do not trust this server")
        url = page.following
    return tags


def place(url: str) -> str:
    """A download URL of GitHub, moved to where the environment's RACKCTL_GITHUB_URL says that `<tag>/<name>` lie.

    `{repository}` in it stands for `owner/name`, which tells the catalogue's systems apart.
    """
    mirror = os.environ.get("RACKCTL_GITHUB_URL", "").rstrip("/")
    parts = url.split("/", 7)
    if not mirror or len(parts) < 8 or url != _DOWNLOADS.format("/".join(parts[3:5])) + parts[7]:
        return url
    return f"{mirror.replace('{repository}', '/'.join(parts[3:5]))}/{parts[7]}"


def _is_published(release: Mapping[str, Any]) -> bool:
    return isinstance(release.get("tag_name"), str) and not release.get("draft") and not release.get("prerelease")


def _explain(answer: requests.Response, url: str) -> FetchError | None:
    limited = answer.headers.get("X-RateLimit-Remaining") == "0" or "Retry-After" in answer.headers
    if answer.status_code not in (403, 429) or not limited:
        return None
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


def _read(page: Page, url: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(page.body)
    except (ValueError, RecursionError) as wrong:
        raise FetchError(f"the answer is not JSON: {wrong}", url, "is there a proxy in between?") from wrong
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FetchError("the answer is not a list of releases", url, "is there a proxy in between?")
    return found
