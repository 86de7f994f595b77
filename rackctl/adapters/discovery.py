"""Adapter: builds the discovery OS (Debian kernel, busybox initramfs) in a container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rackctl.adapters.imagebuild import build_files, hash_inputs
from rackctl.assets import find_asset

_FILES = ("vmlinuz", "initrd")


def build_discovery(out: Path, report: Callable[[str], None]) -> dict[str, Path]:
    """`vmlinuz` and `initrd`; built again only when the build folder changed. Raises EngineError."""
    context = find_asset("compose/discovery")
    target = out / hash_inputs(context)
    if not all((target / name).is_file() for name in _FILES):
        report("building the discovery OS from Debian packages (about a minute)")
        build_files("discovery OS", context, "Dockerfile", target, _FILES, report)
    return {name: target / name for name in _FILES}
