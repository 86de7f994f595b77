"""Adapter: makes a stick's image in a container build."""

from __future__ import annotations

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
        aside = target.with_name(target.name + ".part")
        shutil.copyfile(out / "stick.img", aside)
        aside.rename(target)
