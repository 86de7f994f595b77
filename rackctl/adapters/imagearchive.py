"""Adapter: container images as a file, for a master that reaches no registry."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rackctl.adapters.proc import run

_MOST = 4 << 20  # bytes of either list of tags


def save_images(tags: Sequence[str], out: Path) -> None:
    """Write the images with their tags. Raises EngineError."""
    run(["docker", "save", "-o", str(out), *tags], timeout=600, remedy="rackctl up builds the images")


def load_images(file: Path) -> None:
    """Give the engine the images of a file. Raises EngineError."""
    run(["docker", "load", "-q", "-i", str(file)], timeout=600, remedy="is there room in Docker's data directory?")


def read_tags(file: Path) -> set[str]:
    """The tags that the engine would set. Raises KeyError, TypeError or ValueError for what is no archive of images.

    The engine reads manifest.json (moby, image/tarexport), or index.json where it keeps images as containerd does.
    """
    with tarfile.open(file, "r:") as tar:
        images = _read_json(tar, "manifest.json")
        index = _read_json(tar, "index.json") if "index.json" in tar.getnames() else {}
    named = [tag for image in images for tag in image["RepoTags"] or []]
    notes = [one.get("annotations") or {} for one in index.get("manifests", [])]
    named += [note["io.containerd.image.name"] for note in notes if "io.containerd.image.name" in note]
    return {str(tag).removeprefix("docker.io/") for tag in named}


def _read_json(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.getmember(name)
    content = tar.extractfile(member)
    if content is None or member.size > _MOST:
        raise ValueError(f"{name} is no list of images")
    return json.loads(content.read())
