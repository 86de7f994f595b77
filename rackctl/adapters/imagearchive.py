"""Adapter: container images as a file, for a master that reaches no registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rackctl.adapters.proc import run


def save_images(tags: Sequence[str], out: Path) -> None:
    """Write the images with their tags. Raises EngineError."""
    run(["docker", "save", "-o", str(out), *tags], timeout=600, remedy="rackctl up builds the images")


def load_images(file: Path) -> None:
    """Give the engine the images of a file. Raises EngineError."""
    run(["docker", "load", "-q", "-i", str(file)], timeout=600, remedy="is there room in Docker's data directory?")
