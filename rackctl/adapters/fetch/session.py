"""Adapter: HTTP as all fetching here speaks it, and its faults in plain words."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from rackctl import __version__
from rackctl.errors import FetchError

if TYPE_CHECKING:
    import requests

HEADERS = {"User-Agent": f"rackctl/{__version__}", "Accept-Encoding": "identity"}
TIMEOUT = (10, 30)  # seconds to connect, and of silence
_REDIRECTS = 10
_CLOCK = "set this machine's clock"


def open_session(*, downgrade: bool = False) -> requests.Session:
    """A session that follows redirects. downgrade: from https to plain http too, for a file whose sum is known."""
    import requests

    session = requests.Session()
    session.headers.update(HEADERS)
    session.max_redirects = _REDIRECTS
    if not downgrade:
        session.hooks["response"].append(_refuse_downgrade)
    return session


def is_downgraded(answer: requests.Response) -> bool:
    """True when https led to plain http on the way to this answer."""
    return answer.url.startswith("http://") and any(one.url.startswith("https://") for one in answer.history)


def _refuse_downgrade(answer: requests.Response, **_more: Any) -> None:
    target = urljoin(answer.url, answer.headers.get("Location", "")) if answer.is_redirect else ""
    if answer.url.startswith("https://") and target.startswith("http://"):
        answer.close()
        raise FetchError(
            f"it redirects from https to plain http, {target}",
            answer.url,
            "anybody on the way could answer there: look at the URL and the proxy, or name another mirror",
        )


def explain_fault(wrong: Exception) -> tuple[str, str]:
    """What went wrong in plain words, and the remedy that is special to it, or "". wrong: of requests or urllib3."""
    from requests import exceptions
    from urllib3 import exceptions as lower

    text = str(wrong)
    if isinstance(wrong, exceptions.SSLError) or "certificate" in text:
        reason = re.search(r"certificate verify failed: ([^(\n]{1,120})", text)
        clock = _CLOCK if "not yet valid" in text or "has expired" in text else ""
        return f"its certificate does not convince: {reason[1].strip() if reason else 'no TLS connection'}", clock
    if isinstance(wrong, exceptions.TooManyRedirects):
        return f"it redirects more than {_REDIRECTS} times", "look at the URL and the proxy"
    if isinstance(wrong, ValueError):  # requests' InvalidURL and the like are that too
        return "it redirects to something that is no http URL, or the URL is none", "mend the URL"
    if isinstance(wrong, exceptions.ConnectTimeout | lower.ConnectTimeoutError):
        return f"no connection within {TIMEOUT[0]} s", ""
    if isinstance(wrong, exceptions.Timeout | lower.TimeoutError) or "timed out" in text:
        return f"the server was silent for {TIMEOUT[1]} s", ""
    cause = next((one for one in _causes(wrong) if isinstance(one, OSError) and one.strerror), None)
    if isinstance(wrong, exceptions.ProxyError):
        return f"the proxy does not let it through{f' ({cause.strerror})' if cause else ''}", "look at HTTPS_PROXY"
    if isinstance(cause, socket.gaierror):
        return f"the name of the server is not found ({cause.strerror})", ""
    if isinstance(wrong, exceptions.ContentDecodingError | lower.DecodeError):
        return "what came is packed, and cannot be unpacked", ""
    if cause:
        return f"no connection ({cause.strerror})", ""
    return "the connection broke", ""


def _causes(wrong: BaseException) -> Iterator[BaseException]:
    """The exception and those inside it, outermost first: urllib3 keeps them in args and `reason`."""
    left: list[object] = [wrong]
    seen = 0
    while left and seen < 20:
        one, seen = left.pop(0), seen + 1
        if isinstance(one, BaseException):
            yield one
            left += [*one.args, getattr(one, "reason", None), one.__cause__]
