"""Core. What an iPXE build is made of besides its script, with everything that stands in files read already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """source: as `ipxe.source` of rack.yml. ref: a commit other than the pinned one.

    headers: of src/config/local. trust: certificates as PEM, one each: what HTTPS servers are checked against, in place
    of the public CAs. patches: target, or "" for all -> file name -> content. plain: whether upstream's binaries would
    do as well.
    """

    source: str = "auto"
    ref: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    trust: tuple[bytes, ...] = ()
    patches: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    plain: bool = True

    def options(self, target: str) -> dict[str, bytes]:
        """The files of the build's folders `options` and `trust`: binaries with the same ones are built in one tree."""
        found = {f"options/local/{name}": text.encode() for name, text in self.headers.items()}
        found |= {f"trust/{number}.pem": pem for number, pem in enumerate(self.trust)}
        for order, scope in enumerate(("", target)):
            found |= {f"options/patches/{order}-{name}": raw for name, raw in self.patches.get(scope, {}).items()}
        return found

    @property
    def trust_files(self) -> str:
        """The certificates as iPXE's make takes them."""
        return ",".join(f"/trust/{number}.pem" for number in range(len(self.trust)))
