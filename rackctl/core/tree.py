"""Core. Tree: what TFTP and HTTP serve, and the compose file, as path -> content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tree:
    """files: path -> bytes, rendered. artifacts: path -> sha256 of a file in the store.

    Paths are relative, `tftp/...`, `http/...` or `compose.yml`.
    """

    files: Mapping[str, bytes]
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """First 16 hex digits of the sha256 over every path and content: two equal ids serve the same bytes."""
        sums = {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}
        canonical = json.dumps({**sums, **self.artifacts}, sort_keys=True).encode()
        return hashlib.sha256(canonical).hexdigest()[:16]
