"""Adapter: small pages (lists of versions, sums, signatures, keys), asked again only if they changed."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rackctl.adapters.fetch import transfer
from rackctl.adapters.fetch.session import HEADERS, TIMEOUT, explain_fault, open_session
from rackctl.errors import FetchError

if TYPE_CHECKING:
    import requests

MOST = 32 << 20  # bytes; no list that the catalogue knows is a tenth of this
LONGEST = 300.0  # seconds that one page may take

Explain = Callable[["requests.Response", str], FetchError | None]


@dataclass(frozen=True)
class Page:
    """What a URL held. following: the next page's URL, from the Link field (RFC 8288)."""

    body: bytes
    following: str = ""


def read_page(
    url: str,
    cache: Path | None = None,
    headers: Mapping[str, str] | None = None,
    explain: Explain | None = None,
    remedy: str = "look at the network, and whether upstream still has it",
) -> Page:
    """The page, tried again when the fault may pass. cache: folder of pages with their ETags.

    explain may turn an answer into an error of its own. Raises FetchError.
    """
    from requests import exceptions
    from urllib3.exceptions import HTTPError

    if not url.startswith(("http://", "https://")):
        raise FetchError("only http and https URLs are fetched", url, "mend the URL")
    file = cache / (hashlib.sha256(url.encode()).hexdigest()[:32] + ".json") if cache else None
    kept = _read_kept(file)
    asked = {**HEADERS, **(headers or {})} | ({"If-None-Match": kept["etag"]} if kept else {})
    problem = ""
    for attempt in range(transfer.TRIES):
        if attempt:
            time.sleep(transfer.PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 no secret
        try:
            with open_session() as session, session.get(url, headers=asked, timeout=TIMEOUT, stream=True) as answer:
                if answer.status_code == 304 and kept:
                    # A page may stay the same while one is added behind it.
                    following = answer.links.get("next", {}).get("url", kept["following"])
                    return Page(base64.b64decode(kept["body"]), following)
                if answer.status_code == 200:
                    return _keep(file, answer, _read_body(answer, url))
                if explain and (explained := explain(answer, url)):
                    raise explained
                problem = f"the server answered {answer.status_code} {answer.reason or ''}".strip()
                if answer.status_code not in transfer.PASSING:
                    break
        except (exceptions.RequestException, HTTPError, ValueError) as wrong:
            problem, special = explain_fault(wrong)
            remedy = special or remedy
            if special:
                break
    raise FetchError(problem, url, remedy)


def _read_body(answer: requests.Response, url: str) -> bytes:
    parts, size, end = [], 0, time.monotonic() + LONGEST
    while chunk := answer.raw.read1(1 << 16, decode_content=True):
        parts.append(chunk)
        size += len(chunk)
        if size > MOST:
            raise FetchError(f"the page is longer than {MOST} bytes", url, "this is not the list it should be")
        if time.monotonic() > end:
            raise FetchError(f"the page took longer than {LONGEST:.0f} s", url, "try again, or name another mirror")
    return b"".join(parts)


def _read_kept(file: Path | None) -> dict[str, str] | None:
    try:
        found = json.loads(file.read_text()) if file else None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"etag", "body", "following"} <= set(found) else None


def _keep(file: Path | None, answer: requests.Response, body: bytes) -> Page:
    page = Page(body, answer.links.get("next", {}).get("url", ""))
    etag = answer.headers.get("ETag", "")
    if file and etag:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(f".{time.monotonic_ns()}.new")
        text = base64.b64encode(body).decode()
        aside.write_text(json.dumps({"etag": etag, "body": text, "following": page.following}))
        aside.rename(file)
    return page
