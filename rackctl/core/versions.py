"""Core. Version numbers: which of the published ones a wish like `v1.5.x` or `latest` means."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,4})(.*)", re.DOTALL)
_WISH = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,3})(?:\.[x*])*")
LATEST = "latest"


def numbers(version: str) -> tuple[int, ...] | None:
    """`v1.5.10` -> (1, 5, 10). None for a candidate (`v1.5.0-rc1`) and for what is no dotted number."""
    found = _NUMBERED.fullmatch(version)
    return None if found is None or found[2] else tuple(int(part) for part in found[1].split("."))


def is_wish(version: str) -> bool:
    """True for `latest` and for a version that ends in `.x`: what several published versions can meet."""
    return version == LATEST or version.endswith((".x", ".*"))


def choose_newest(wish: str, published: Iterable[str]) -> str | None:
    """The newest published version that meets the wish, compared number by number; candidates never do.

    A wish: `latest`, `v1.5.x`, or the first numbers of a version (`12`, `v1.5`).
    """
    found = _WISH.fullmatch(wish)
    if wish != LATEST and found is None:
        return None
    prefix = () if found is None else tuple(int(part) for part in found[1].split("."))
    fitting = [(n, one) for one in published if (n := numbers(one)) and n[: len(prefix)] == prefix]
    return max(fitting)[1] if fitting else None
