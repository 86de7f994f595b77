"""Adapter: makes a stick's image in a container build."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rackctl.adapters.imagebuild import build_files
from rackctl.assets import find_asset


def make_stick(files: Mapping[str, bytes], stick_id: str, target: Path, report: Callable[[str], None]) -> None:
    """Write the image to `target`, whole or not at all. Raises EngineError."""
    with tempfile.TemporaryDirectory(prefix="rackctl-stick-") as name:
        context = Path(name) / "context"
        shutil.copytree(find_asset("compose/stick"), context)
        for path, raw in files.items():
            file = context / "files" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(raw)
        out = Path(name) / "out"
        build_files("stick", context, "Dockerfile", out, ["stick.img"], report, "--build-arg", f"ID={stick_id}")
        put_file(out / "stick.img", target)


def put_file(source: Path, target: Path) -> None:
    """Copy a file whole or not at all, beside others that do the same. Raises OSError that names the target."""
    aside = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, aside)
        aside.rename(target)
    except OSError as wrong:
        wrong.filename, wrong.filename2 = str(target), None  # copyfile blames the source for a full disk
        raise
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
