"""Core. Lists of sha256 in the forms that upstreams write."""

from __future__ import annotations

import re

# As RancherOS, GNU's sha256sum and BSD's sha256 write them.
_LINES = (
    re.compile(r"sha256: (?P<sum>[0-9a-f]{64})  (?P<name>\S+)"),
    re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<name>\S+)"),
    re.compile(r"SHA256 \((?P<name>\S+)\) = (?P<sum>[0-9a-f]{64})"),
)


def parse_sums(text: str) -> dict[str, str]:
    """File name (without a leading `./`) -> sha256; every other line is left out.

    Raises ValueError when one name has two sums.
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = next((m for pattern in _LINES if (m := pattern.fullmatch(line.strip()))), None)
        if match:
            name = match["name"].removeprefix("./") or match["name"]
            if found.setdefault(name, match["sum"]) != match["sum"]:
                raise ValueError(f"two sums for {name}")
    return found


def find_sum(sums: dict[str, str], list_url: str, url: str) -> str | None:
    """The sum of the file at `url`: by its path below the list's folder, else by its name.

    Else by the only path that ends in its name, since some lists hold the paths of the machine that built the files.
    """
    folder, name = list_url.rpartition("/")[0] + "/", url.rpartition("/")[2]
    below = url.removeprefix(folder) if url.startswith(folder) else ""
    if exact := sums.get(below) or sums.get(name):
        return exact
    ending = {digest for path, digest in sums.items() if path.endswith("/" + name)}
    return ending.pop() if len(ending) == 1 else None
