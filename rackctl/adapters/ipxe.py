"""Adapter: the iPXE binaries, built in a container with the rack's boot script in them or carried beside them.

Two lanes. source: upstream's code at the pinned commit, the script embedded. prebuilt: Debian's binaries; BIOS goes
through pxelinux, which loads ipxe.lkrn with the script as its initrd, and the EFI binary fetches autoexec.ipxe.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters.imagebuild import build_files, hash_inputs
from rackctl.adapters.ipxesource import (
    PINNED_COMMIT,
    PINNED_TAG,
    PINNED_TIME,
    PINNED_TREE,
    find_source,
    in_cache,
    keep_unpacked,
)
from rackctl.assets import find_asset
from rackctl.core.pe import MACHINE_IA32, MACHINE_X86_64, pe_machine
from rackctl.core.targets import DEFAULT_TARGETS
from rackctl.errors import EngineError


@dataclass(frozen=True)
class Target:
    """make: iPXE's name of it. least, most: sane sizes in bytes. machine: of its PE header, for an EFI binary."""

    make: str
    least: int
    most: int
    machine: int | None = None


# v2.0.0's are 71 kB, 1.15 MB and 288 kB; a ROM gives undionly 512 kB of low memory at the most.
TARGETS = {
    "undionly.kpxe": Target("bin/undionly.kpxe", 40_000, 500_000),
    "ipxe.efi": Target("bin-x86_64-efi/ipxe.efi", 200_000, 4_000_000, MACHINE_X86_64),
    "snponly.efi": Target("bin-x86_64-efi/snponly.efi", 100_000, 2_000_000, MACHINE_X86_64),
    "ipxe-ia32.efi": Target("bin-i386-efi/ipxe.efi", 200_000, 4_000_000, MACHINE_IA32),
    "snponly-ia32.efi": Target("bin-i386-efi/snponly.efi", 100_000, 2_000_000, MACHINE_IA32),
}
_PXELINUX = "DEFAULT rackctl\nLABEL rackctl\n  KERNEL ipxe.lkrn\n  INITRD script.ipxe\n"

_PREBUILT = (
    "pxelinux.0",
    "ldlinux.c32",
    "ipxe.lkrn",
    "pxelinux.cfg/default",
    "script.ipxe",
    "ipxe.efi",
    "autoexec.ipxe",
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class IpxeBuild:
    """files: name that TFTP serves -> file. reason: why this lane."""

    lane: str
    reason: str
    files: dict[str, Path]
    bios_file: str
    efi_file: str
    reused: bool


def build_ipxe(
    script: str,
    out: Path,
    cache: Path,
    source: str,
    report: Report,
    targets: Sequence[str] = DEFAULT_TARGETS,
    objects: Sequence[str] = (),
) -> IpxeBuild:
    """Build or reuse the binaries that carry `script`.

    targets: names in TARGETS; the prebuilt lane has files of its own. objects: the targets that the rack needs with any
    of its scripts: all of them then share the layers of objects.

    source: `prebuilt`, or what `find_source` takes; auto falls back to the prebuilt lane. Raises EngineError, or
    RackError when the source is absent or is not the pinned commit.
    """
    if source == "prebuilt":
        return _build_prebuilt(script, out, "rack.yml asks for it", report)
    found = find_source(cache, source, report)
    if isinstance(found, str):
        return _build_prebuilt(script, out, f"{found}; a clone at {cache / 'ipxe'} would be built", report)
    return _build_source(script, out, found, report, targets, objects or targets)


def plan_files(cache: Path, source: str, targets: tuple[str, ...] = DEFAULT_TARGETS) -> tuple[str, tuple[str, ...]]:
    """The lane that `build_ipxe` would take, and the names it would make; builds nothing."""
    if source == "prebuilt" or (source == "auto" and not in_cache(cache)):
        return "prebuilt", _PREBUILT
    return "source", targets


def _build_source(
    script: str, out: Path, source: Path, report: Report, targets: Sequence[str], objects: Sequence[str]
) -> IpxeBuild:
    context = find_asset("ipxe-build")
    target = out / hash_inputs(context, "source", PINNED_COMMIT, script, *sorted(targets))
    files = {name: target / TARGETS[name].make for name in targets}
    reused = all(file.is_file() for file in files.values())
    if not reused:
        report(f"building iPXE {PINNED_TAG} from {source} (minutes the first time, seconds after)")
        tree = keep_unpacked(source, out / f"{PINNED_TREE[:16]}.source")
        with _context(context, script) as folder:
            more = {*targets, *objects} - set(DEFAULT_TARGETS)
            layers = {"OBJECTS": DEFAULT_TARGETS, "MORE": more, "TARGETS": targets}
            arguments = ["--build-context", f"source={tree}", "--build-arg", f"SOURCE_DATE_EPOCH={PINNED_TIME}"]
            for key, names in layers.items():
                arguments += ["--build-arg", f"{key}=" + " ".join(TARGETS[name].make for name in sorted(names))]
            makes = [TARGETS[name].make for name in targets]
            build_files("iPXE", folder, "Dockerfile.source", target, makes, report, *arguments)
        _check_binaries(target, files)
    reason = f"commit {PINNED_COMMIT[:12]} in {source}"
    return IpxeBuild("source", reason, files, "undionly.kpxe", "snponly.efi", reused)


def _build_prebuilt(script: str, out: Path, reason: str, report: Report) -> IpxeBuild:
    context = find_asset("ipxe-build")
    target = out / hash_inputs(context, "prebuilt", script)
    names = _PREBUILT
    reused = all((target / name).is_file() for name in names)
    if not reused:
        report("taking Debian's prebuilt iPXE")
        with _context(context, script) as folder:
            (folder / "pxelinux.cfg").mkdir()
            (folder / "pxelinux.cfg/default").write_text(_PXELINUX)
            build_files("iPXE", folder, "Dockerfile.prebuilt", target, names, report)
    return IpxeBuild("prebuilt", reason, {name: target / name for name in names}, "pxelinux.0", "ipxe.efi", reused)


@contextmanager
def _context(assets: Path, script: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rackctl-ipxe-") as name:
        folder = Path(name) / "context"
        shutil.copytree(assets, folder)
        (folder / "script.ipxe").write_text(script)
        yield folder


def _check_binaries(target: Path, files: dict[str, Path]) -> None:
    for name, file in files.items():
        wanted, size = TARGETS[name], file.stat().st_size
        fault = "" if wanted.least <= size <= wanted.most else f"{size} bytes, sane is {wanted.least} to {wanted.most}"
        if not fault and wanted.machine and pe_machine(file.read_bytes()) != wanted.machine:
            fault = f"a PE header that is not for machine {wanted.machine:#x}"
        if fault:
            shutil.rmtree(target)
            raise EngineError(f"{name} came out with {fault}", remedy="rackctl build-ipxe again")
