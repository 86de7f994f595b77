"""Adapter: what version a wish means, asked of the project's own list."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rackctl.adapters.fetch.apt import Deb, Suite, find_deb, open_suite
from rackctl.adapters.fetch.github import list_releases
from rackctl.adapters.fetch.progress import Progress, Report
from rackctl.adapters.fetch.signatures import load_keys
from rackctl.adapters.fetch.store import Store
from rackctl.adapters.fetch.web import read_page
from rackctl.core.catalog import Entry, choose_version, fill, find_wish
from rackctl.core.lock import VERSION
from rackctl.errors import FetchError


@dataclass
class Upstream:
    """One OS at one wish: what its project says of it, asked when needed. own_keys: the rack's catalog/keys/."""

    name: str
    entry: Entry
    wanted: str
    store: Store
    report: Report
    progress: Progress | None = None
    own_keys: Path | None = None
    arch: str = "amd64"
    version: str = field(default="", init=False)
    words: Mapping[str, str] = field(default_factory=dict, init=False)
    witnesses: dict[str, dict[str, str] | None] = field(default_factory=dict, init=False)
    _json: Any = field(default=None, init=False)
    _suite: Suite | None = field(default=None, init=False)
    _certs: Any = field(default=None, init=False)
    _debs: dict[str, Deb] = field(default_factory=dict, init=False)

    @property
    def pages(self) -> Path:
        """Pages with their ETags."""
        return self.store.root / "pages"

    def resolve(self) -> str:
        """The exact version. Raises FetchError."""
        index = self.entry.index
        exact = re.fullmatch(index.exact, self.wanted) if index.exact else None
        wish = find_wish(self.entry, self.wanted)
        if not exact and not wish:
            ways = ", ".join([*(w.match for w in self.entry.wishes), *([index.exact] if index.exact else [])])
            raise FetchError(f"{self.wanted!r} is no {self.entry.title} version", self.name, f"it takes {ways}")
        self._set_words(wish[1] if wish else {})
        if exact:
            prefix = "" if self.wanted.startswith(index.prefix) else index.prefix
            return self.settle(prefix + self.wanted)
        published = self._published()
        # Where there is one version to a wish, as in a Debian suite, it need not resemble the wish.
        single = index.kind in ("package", "json", "fixed")
        found = published[0] if single else choose_version(self.wanted, published)
        if found is None:
            raise FetchError(f"no published version is a {self.wanted}", self.name, "rackctl os show tells the ways")
        return self.settle(found)

    def settle(self, version: str) -> str:
        """Fix the exact version. What it says of itself counts for more than what the wish said: `latest` moves."""
        if not VERSION.fullmatch(version):
            raise FetchError(f"{version[:80]!r} is no version", self.name, "do not trust the list that it came from")
        self.version = version
        words: dict[str, str] = {}
        for text in (self.wanted, version):
            said = find_wish(self.entry, text)
            words |= {name: word for name, word in (said[1] if said else {}).items() if word}
        self._set_words({**words, "version": version})
        return version

    def fill(self, text: str) -> str:
        """The text with its `{words}` replaced. Raises FetchError for a word that this version does not give."""
        try:
            return fill(text, self.words)
        except KeyError as unknown:
            raise FetchError(f"{self.name} {self.wanted} gives no {{{unknown.args[0]}}}", text) from unknown

    def certs(self) -> Any:
        """Who may sign. Raises FetchError."""
        if self._certs is None:
            self._certs = load_keys(self.entry.keys, self.own_keys, self.pages)
        return self._certs

    def suite(self) -> Suite:
        """The Debian suite, verified. Raises FetchError."""
        if self._suite is None:
            self._suite = open_suite(self.words["suite"], self.certs(), self.store)
        return self._suite

    def deb(self, package: str) -> Deb:
        """A Debian package. Raises FetchError."""
        name = self.fill(package)
        if name not in self._debs:
            self._debs[name] = find_deb(self.suite(), name, self.arch, self.store, self.report, self.progress)
        return self._debs[name]

    def look_up(self, path: str) -> Any:
        """What lies at a dotted path of the json index. Raises FetchError."""
        url = self.fill(str(self.entry.index.url))
        if self._json is None:
            try:
                self._json = json.loads(read_page(url, self.pages).body)
            except (ValueError, RecursionError) as wrong:
                raise FetchError(f"not JSON: {wrong}", url, "is there a proxy in between?") from wrong
        found = self._json
        for part in self.fill(path).split("."):
            if not isinstance(found, dict) or part not in found:
                raise FetchError(f"it has no {self.fill(path)}", url, "upstream's format changed: mend the entry")
            found = found[part]
        return found

    def _look_up_text(self, path: str) -> str:
        found = self.look_up(path)
        if not isinstance(found, str):
            raise FetchError(f"{self.fill(path)} is no text", str(self.entry.index.url), "mend the catalogue entry")
        return found

    def _set_words(self, words: Mapping[str, str]) -> None:
        os_arch = self.entry.architectures.get(self.arch, self.arch)  # type: ignore[call-overload]
        self.words = {**words, "arch": self.arch, "os_arch": os_arch}

    def _published(self) -> list[str]:
        index = self.entry.index
        if index.kind == "github":
            tags = list_releases(index.repository, self.pages)
            return [tag for tag in tags if not index.pattern or re.fullmatch(index.pattern, tag)]
        if index.kind == "text":
            text = read_page(self.fill(str(index.url)), self.pages).body.decode(errors="replace")
            return sorted({found["version"] for found in re.finditer(self.fill(index.pattern), text)})
        if index.kind == "json":
            return [self._look_up_text(index.version)]
        if index.kind == "package":
            # The epoch is for comparing only: no file of Debian's has it in its name. `~` is no sign for a URL.
            return [self.deb(index.package).version.rpartition(":")[2].replace("~", "-")]
        return [index.version]
