"""Adapter: files that come out of a container build, kept by the hash of what went in."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from rackctl.adapters.proc import stream


def hash_inputs(folder: Path, *more: str) -> str:
    """First 16 hex digits of the sha256 over every file of a build folder and the other inputs."""
    total = hashlib.sha256()
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        total.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for text in more:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()[:16]


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
        remedy="make engine sets up the base image; the build needs a Debian mirror",
    )
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
