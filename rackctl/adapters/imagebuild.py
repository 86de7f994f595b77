"""Adapter: container builds, kept by the hash of what went in: images under a tag, files in a folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from rackctl.adapters.proc import run, stream
from rackctl.assets import find_asset
from rackctl.errors import EngineError

_REMEDY = "make engine sets up the base image; the build needs a Debian mirror"


def hash_inputs(folder: Path, *more: str) -> str:
    """First 16 hex digits of the sha256 over every file of a build folder and the other inputs."""
    total = hashlib.sha256()
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        total.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for text in more:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()[:16]


def image_tag(name: str) -> str:
    """The tag of the image that compose/NAME gives: two equal tags are the same recipe."""
    return f"rackctl/{name}:{hash_inputs(find_asset(f'compose/{name}'))}"


def build_image(name: str, report: Callable[[str], None]) -> str:
    """Build the image of compose/NAME unless it is there, and return its tag. Raises EngineError."""
    tag = image_tag(name)
    try:
        run(["docker", "image", "inspect", "--format", "{{.Id}}", tag], timeout=20)
    except EngineError:
        report(f"building the image {tag}")
        stream(["docker", "build", "-q", "-t", tag, str(find_asset(f"compose/{name}"))], lambda _: None, remedy=_REMEDY)
    return tag


def build_files(context: Path, dockerfile: str, target: Path, *options: str) -> None:
    """Run the build and put the files of its last stage into `target`: written aside, then renamed."""
    aside = target.with_name(target.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    stream(
        [
            "docker",
            "buildx",
            "build",
            "--progress=plain",
            "-f",
            str(context / dockerfile),
            "--output",
            f"type=local,dest={aside}",
            *options,
            str(context),
        ],
        lambda _line: None,
        remedy=_REMEDY,
    )
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
