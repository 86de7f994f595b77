"""Adapter: the iPXE binaries, built in a container with the rack's boot script in them or carried beside them.

Two lanes. source: upstream's code at the pinned commit, the script embedded. prebuilt: Debian's binaries; BIOS goes
through pxelinux, which loads ipxe.lkrn with the script as its initrd, and the EFI binary fetches autoexec.ipxe.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters.imagebuild import build_files, hash_inputs
from rackctl.adapters.proc import run
from rackctl.assets import find_asset
from rackctl.core.pe import MACHINE_IA32, MACHINE_X86_64, pe_machine
from rackctl.errors import EngineError, RackError

PINNED_TAG = "v2.0.0"
PINNED_COMMIT = "12798ec29aa8a64d8675c4378b99f5fe28447afb"  # of that tag, released 2026-03-06


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
DEFAULT_TARGETS = ("undionly.kpxe", "ipxe.efi", "snponly.efi")
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
    script, so that all its scripts share one layer of objects.

    source: `auto`, `prebuilt`, `source`, a git URL, a local clone or an archive. auto takes the source from the cache
    directory (a clone `ipxe`, or an archive `ipxe-*.tar.gz`) and else the prebuilt lane. Raises EngineError, or
    RackError when the source is absent or is not the pinned commit.
    """
    if source == "prebuilt":
        return _build_prebuilt(script, out, "rack.yml asks for it", report)
    found = _find_source(cache, source, report)
    if found is None:
        reason = f"no iPXE source in {cache}: put a clone at {cache / 'ipxe'} to build it with the script embedded"
        return _build_prebuilt(script, out, reason, report)
    return _build_source(script, out, found, report, targets, objects or targets)


def plan_files(cache: Path, source: str) -> tuple[str, tuple[str, ...]]:
    """The lane that `build_ipxe` would take, and the names it would make; builds nothing."""
    if source == "prebuilt" or (source == "auto" and not _in_cache(cache)):
        return "prebuilt", _PREBUILT
    return "source", DEFAULT_TARGETS


def _in_cache(cache: Path) -> list[Path]:
    return [cache / "ipxe"] if (cache / "ipxe").is_dir() else sorted(cache.glob("ipxe-*.tar.gz"))


def _find_source(cache: Path, source: str, report: Report) -> Path | None:
    if source in ("auto", "source"):
        found = _in_cache(cache)
        if found or source == "auto":
            return found[-1] if found else None
        raise RackError(
            "there is no iPXE source in the cache", str(cache), f"git clone its repository to {cache / 'ipxe'}"
        )
    if "://" not in source and not source.startswith("git@"):
        if Path(source).exists():
            return Path(source)
        raise RackError("there is no iPXE source", source, "name a clone, an archive or a git URL in rack.yml: ipxe")
    clone = cache / "ipxe"
    if not clone.is_dir():
        report(f"cloning {source}")
        aside = cache / "ipxe.part"
        shutil.rmtree(aside, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        run(
            ["git", "clone", "--quiet", "--bare", "--branch", PINNED_TAG, "--depth", "1", source, str(aside)],
            timeout=600,
        )
        aside.rename(clone)
    return clone


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The pinned commit's files in a temporary folder; the commit id is checked first."""
    with tempfile.TemporaryDirectory(prefix="rackctl-ipxe-") as name:
        folder = Path(name)
        archive = source
        if source.is_dir():
            archive = folder / "archive.tar"
            git = ["git", "-c", "safe.directory=*", "-C", str(source)]
            run([*git, "cat-file", "-e", PINNED_COMMIT + "^{commit}"], error=RackError, remedy=_fetch_remedy(source))
            run([*git, "archive", "--format=tar", "-o", str(archive), PINNED_COMMIT], timeout=60)
        with tarfile.open(archive) as tar:
            # `git archive` writes the commit id into the header (git-archive(1)); GitHub's archives have it too.
            if tar.pax_headers.get("comment") != PINNED_COMMIT:
                raise RackError(f"the archive is not of commit {PINNED_COMMIT}", str(source), _fetch_remedy(source))
            tar.extractall(folder / "tree", filter="data")
        tops = list((folder / "tree").iterdir())
        yield tops[0] if len(tops) == 1 else folder / "tree"


def _fetch_remedy(source: Path) -> str:
    return f"it needs {PINNED_TAG}, commit {PINNED_COMMIT}: git -C {source} fetch --tags"


def _build_source(
    script: str, out: Path, source: Path, report: Report, targets: Sequence[str], objects: Sequence[str]
) -> IpxeBuild:
    context = find_asset("ipxe-build")
    makes = " ".join(TARGETS[name].make for name in targets)
    target = out / hash_inputs(context, "source", PINNED_COMMIT, script, makes)
    files = {name: target / TARGETS[name].make for name in targets}
    reused = all(file.is_file() for file in files.values())
    if not reused:
        report(f"building iPXE {PINNED_TAG} from {source} (minutes the first time, seconds after)")
        with _unpacked(source) as tree, _context(context, script) as folder:
            layer = " ".join(TARGETS[name].make for name in sorted({*targets, *objects}))
            arguments = ("--build-arg", f"OBJECTS={layer}", "--build-arg", f"TARGETS={makes}")
            build_files(folder, "Dockerfile.source", target, "--build-context", f"source={tree}", *arguments)
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
            build_files(folder, "Dockerfile.prebuilt", target)
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
