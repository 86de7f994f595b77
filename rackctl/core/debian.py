"""Core. Debian's archive files: Release, Packages, and apt's list of sources."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_AHEAD = datetime.timedelta(hours=1)  # a clock this much behind is no reason to stop


@dataclass(frozen=True)
class Listed:
    """One file that a Release lists: size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Source:
    """One archive of apt's configuration. signed_by: a keyring file, if it names one."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


def parse_stanza(text: str) -> dict[str, str]:
    """Field -> value of one deb822 paragraph; continuation lines are joined with newlines."""
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line.strip()
        elif not line.startswith("#") and ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def parse_release(text: str) -> tuple[dict[str, str], dict[str, Listed]]:
    """The fields of a Release file, and path -> sum of its SHA256 section."""
    fields = parse_stanza(text)
    listed = {}
    for line in fields.get("SHA256", "").splitlines():
        parts = line.split()
        if len(parts) == 3 and re.fullmatch("[0-9a-f]{64}", parts[0]) and parts[1].isascii() and parts[1].isdigit():
            listed[parts[2]] = Listed(parts[0], int(parts[1]))
    return fields, listed


def judge_dates(fields: Mapping[str, str], now: datetime.datetime) -> str:
    """What is wrong with the dates of a Release at this moment; "" when nothing is.

    As apt does it (Acquire::Check-Valid-Until, Acquire::Check-Date): an old one, signed as it is, would hide updates.
    Debian's stable suites have no Valid-Until.
    """
    for name in ("Date", "Valid-Until"):
        if name not in fields:
            continue
        try:
            moment = email.utils.parsedate_to_datetime(fields[name])
            moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        except (ValueError, TypeError, OverflowError):
            return f"its {name} is no date: {fields[name][:60]}"
        if name == "Date" and moment > now + _AHEAD:
            return f"it was made in the future, on {moment:%Y-%m-%d %H:%M} UTC; here it is {now:%Y-%m-%d %H:%M} UTC"
        if name == "Valid-Until" and moment < now:
            return f"it was valid until {moment:%Y-%m-%d %H:%M} UTC; here it is {now:%Y-%m-%d %H:%M} UTC"
    return ""


def find_package(packages: str, name: str) -> dict[str, str] | None:
    """The stanza of a package in a Packages file; the last one, which is the newest where there are several."""
    start = ("\n" + packages).rfind(f"\nPackage: {name}\n")
    if start < 0:
        return None
    end = packages.find("\n\n", start)
    return parse_stanza(packages[start : end if end >= 0 else None])


def parse_sources(text: str) -> Iterator[Source]:
    """The `deb` archives of one file of apt's configuration, in either form (sources.list(5))."""
    if re.search(r"^Types:", text, re.MULTILINE):
        for paragraph in re.split(r"\n\s*\n", text):
            fields = parse_stanza(paragraph)
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").lower() != "no":
                suites, parts = tuple(fields.get("Suites", "").split()), tuple(fields.get("Components", "").split())
                for uri in fields.get("URIs", "").split():
                    yield Source(uri.rstrip("/"), suites, parts, fields.get("Signed-By", ""))
        return
    for line in text.splitlines():
        found = re.fullmatch(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<rest>.*)", line)
        if found:
            signed = re.search(r"signed-by=(\S+)", found["options"] or "")
            components = tuple(found["rest"].partition("#")[0].split())
            yield Source(found["uri"].rstrip("/"), (found["suite"],), components, signed[1] if signed else "")
