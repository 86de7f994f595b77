"""Adapter: the iPXE binaries, built in a container with the rack's boot script in them or carried beside them.

Two lanes. source: upstream's code at the pinned commit, the script embedded. prebuilt: Debian's binaries; BIOS goes
through pxelinux, which loads ipxe.lkrn with the script as its initrd, and the EFI binary fetches autoexec.ipxe.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rackctl.adapters.imagebuild import BuildError, build_files, hash_inputs
from rackctl.adapters.ipxesource import Commit, find_source, in_cache, keep_unpacked, resolve
from rackctl.assets import find_asset
from rackctl.core.ipxe.binaries import BINARIES, MEDIA, compiled, find_fault
from rackctl.core.ipxe.recipe import Recipe
from rackctl.core.ipxe.signed import NAMES, SCRIPT, SIGNED
from rackctl.core.pe import make_fat
from rackctl.core.targets import ARM64_TARGETS, DEFAULT_TARGETS, IA32_TARGETS
from rackctl.errors import ConfigError, EngineError, RackError

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
LICENCES = ("COPYING", "COPYING.GPLv2", "COPYING.UBDL", "SOURCE")
_NO_PATCH = re.compile(r"the patch (\S+) does not apply")
# gcc's, with BuildKit's own `#12 34.5 ` before it; the path is from src/.
_NO_COMPILE = re.compile(r"^#\d+ [\d.]+ (?P<place>[\w./-]+\.[chS]:\d+)(?::\d+)?: (?:fatal )?error: (?P<what>.*)")

Report = Callable[[str], None]


@dataclass(frozen=True)
class IpxeBuild:
    """files: name that TFTP serves -> file. reason: why this lane. licences: what goes with the files."""

    lane: str
    reason: str
    files: dict[str, Path]
    bios_file: str
    efi_file: str
    reused: bool
    licences: tuple[Path, ...] = ()


def build_ipxe(
    script: str,
    out: Path,
    cache: Path,
    recipe: Recipe,
    report: Report,
    targets: Sequence[str] = DEFAULT_TARGETS,
) -> IpxeBuild:
    """Build or reuse the binaries that carry `script`.

    targets: names in BINARIES; the prebuilt lane has files of its own.

    recipe.source: `prebuilt`, or what `find_source` takes; auto falls back to the prebuilt lane. Raises EngineError, or
    RackError when the source is absent or is not the commit, or when only a build from source can do what is asked.
    """
    prebuilt = recipe.source == "prebuilt"
    found = "rack.yml asks for it" if prebuilt else find_source(cache, recipe.source, report)
    if isinstance(found, Path):
        return _build_source(script, out, cache, found, recipe, report, targets)
    if not recipe.plain:
        wanted = "https, trust, console, vlan, commands, protocols, patches and ref need"
        raise RackError(
            f"Debian's iPXE cannot be changed: {wanted} a build from source" + ("" if prebuilt else f"; {found}"),
            "rack.yml: ipxe",
            f"put a clone of iPXE's repository at {cache / 'ipxe'}, or name its URL: ipxe: {{source: URL}}",
        )
    return _build_prebuilt(
        script, out, found if prebuilt else f"{found}; a clone at {cache / 'ipxe'} would be built", report
    )


def plan_files(cache: Path, source: str, targets: tuple[str, ...] = DEFAULT_TARGETS) -> tuple[str, tuple[str, ...]]:
    """The lane that `build_ipxe` would take, and the names it would make; builds nothing."""
    if source == SIGNED:
        return SIGNED, ("undionly.kpxe", SCRIPT, *(name for names in NAMES.values() for name in names))
    if source == "prebuilt" or (source == "auto" and not in_cache(cache)):
        return "prebuilt", _PREBUILT
    return "source", targets


# What is compiled together, whichever of it is asked for: so that each set of layers is made once. The BIOS's own
# all-driver binaries are links of objects that undionly has compiled already.
_SETS = (
    (DEFAULT_TARGETS, ("ipxe.lkrn", "ipxe.pxe")),
    (IA32_TARGETS, ()),
    (ARM64_TARGETS, ()),
)


@dataclass(frozen=True)
class _Job:
    """One source tree: targets that are compiled with the same options by the same compiler.

    usual, more: what is compiled without options first, and kept for all; changed: what these options are for.
    """

    usual: tuple[str, ...]
    more: tuple[str, ...]
    changed: tuple[str, ...]
    options: Mapping[str, bytes]
    targets: tuple[str, ...]


def _build_source(
    script: str,
    out: Path,
    cache: Path,
    source: Path,
    recipe: Recipe,
    report: Report,
    targets: Sequence[str],
) -> IpxeBuild:
    commit = resolve(source, recipe.ref, cache)
    made: dict[str, Path] = {}
    fresh = False
    for job in _jobs(recipe, compiled(targets)):
        files, reused = _run_job(script, out, source, commit, recipe, job, report)
        made |= files
        fresh = fresh or not reused
    for name in targets:
        if parts := BINARIES[name].parts:
            made[name], reused = _put_together(name, out, [made[part] for part in parts], source, commit, report)
            fresh = fresh or not reused
    reason = f"commit {commit.id[:12]} in {source}"
    licences = _keep_licences(out, source, commit)
    files = {name: made[name] for name in targets}
    return IpxeBuild("source", reason, files, "undionly.kpxe", "snponly.efi", not fresh, licences)


def _jobs(recipe: Recipe, targets: Sequence[str]) -> list[_Job]:
    """A target with a patch of its own is a job of its own: its tree differs."""
    found = []
    for usual, more in _SETS:
        groups: dict[tuple[tuple[str, bytes], ...], list[str]] = {}
        for name in targets:
            if name in (*usual, *more):
                groups.setdefault(tuple(sorted(recipe.options(name).items())), []).append(name)
        for options, names in groups.items():
            rest = more if set(names) & set(more) else ()
            same = tuple(one for one in (*usual, *rest) if recipe.options(one) == dict(options))
            found.append(_Job(usual, rest, same, dict(options), tuple(names)))
    return found


def _run_job(
    script: str,
    out: Path,
    source: Path,
    commit: Commit,
    recipe: Recipe,
    job: _Job,
    report: Report,
) -> tuple[dict[str, Path], bool]:
    context = find_asset("ipxe-build")
    changes = [name + raw.hex() for name, raw in sorted(job.options.items())]
    target = out / hash_inputs(context, "source", commit.id, script, *sorted(job.targets), *changes)
    files = {name: target / BINARIES[name].make for name in job.targets}
    if all(file.is_file() for file in files.values()):
        return files, True
    report(f"building iPXE {commit.name} from {source} (minutes the first time, seconds after)")
    tree = keep_unpacked(source, out / f"{commit.id[:16]}.source", commit)
    with _context(context, script, job.options) as folder:
        arguments = ["--build-context", f"source={tree}", "--build-arg", f"SOURCE_DATE_EPOCH={commit.time}"]
        told = {"OBJECTS": job.usual, "MORE": job.more, "WANTED": job.changed, "TARGETS": job.targets}
        for key, names in told.items():
            arguments += ["--build-arg", f"{key}=" + " ".join(BINARIES[name].make for name in sorted(names))]
        arguments += ["--build-arg", f"TRUST={recipe.trust_files}"]
        arguments += ["--build-arg", "CHANGED=tools-options"] if job.options else []
        arguments += ["--build-arg", "TOOLS=tools-arm64"] if set(job.targets) <= set(ARM64_TARGETS) else []
        makes = [BINARIES[name].make for name in job.targets]
        try:
            build_files("iPXE", folder, "Dockerfile.source", target, makes, report, *arguments)
        except BuildError as wrong:
            raise _explain(wrong, patched=bool(recipe.patches)) or wrong from wrong
    _check_binaries(target, files)
    return files, False


def _explain(wrong: BuildError, patched: bool) -> ConfigError | None:
    """What a person can mend, in one line of the build's many."""
    for line in wrong.log:
        if found := _NO_PATCH.search(line):
            name = found[1].partition("-")[2]
            remedy = "make it anew for this commit"
            return ConfigError(f"{name} does not apply to this iPXE", "rack.yml: ipxe.patches", remedy)
        if found := _NO_COMPILE.match(line):
            keys = "ipxe.patches" if patched else "ipxe.ref, or leave out options until it compiles"
            where = f"iPXE's src/{found['place']}"
            return ConfigError(f"does not compile: {found['what']}", where, f"rack.yml: {keys}")
    return None


def _put_together(
    name: str, out: Path, parts: Sequence[Path], source: Path, commit: Commit, report: Report
) -> tuple[Path, bool]:
    """A universal binary or a medium, of binaries that are built already."""
    context = find_asset("ipxe-build")
    target = out / hash_inputs(context, name, *(part.read_bytes().hex() for part in parts))
    file = target / name
    if file.is_file():
        return file, True
    if BINARIES[name].form in MEDIA:
        report(f"making {name}")
        tree = keep_unpacked(source, out / f"{commit.id[:16]}.source", commit)
        with _context(context, "", {}) as folder:
            (folder / "parts").mkdir()
            for part in parts:  # isolinux finds ipxe.lkrn by its ISO 9660 name, in which a hyphen would be another
                own = part.name if part.suffix == ".lkrn" else f"{part.parent.name}.efi"
                shutil.copyfile(part, folder / "parts" / own)
            arguments = ["--build-context", f"source={tree}", "--build-arg", f"SOURCE_DATE_EPOCH={commit.time}"]
            build_files(
                "iPXE", folder, "Dockerfile.media", target, [name], report, *arguments, "--build-arg", f"NAME={name}"
            )
    else:
        target.mkdir(parents=True, exist_ok=True)
        aside = target / f"{name}.part"
        aside.write_bytes(make_fat([part.read_bytes() for part in parts]))
        aside.rename(file)
    _check_binaries(target, {name: file})
    return file, False


def _keep_licences(out: Path, source: Path, commit: Commit) -> tuple[Path, ...]:
    """iPXE's licence texts, and which source the binaries were made of: whoever hands them on owes both."""
    folder = out / f"{commit.id[:16]}.licences"
    files = tuple(folder / name for name in LICENCES)
    if not all(file.is_file() for file in files):
        tree = keep_unpacked(source, out / f"{commit.id[:16]}.source", commit)
        folder.mkdir(parents=True, exist_ok=True)
        for file in files[:-1]:
            shutil.copyfile(tree / file.name, file)
        files[-1].write_text(f"iPXE {commit.name}, commit {commit.id}, https://github.com/ipxe/ipxe\n")
    return files


def _build_prebuilt(script: str, out: Path, reason: str, report: Report) -> IpxeBuild:
    context = find_asset("ipxe-build")
    target = out / hash_inputs(context, "prebuilt", script)
    names = _PREBUILT
    reused = all((target / name).is_file() for name in names)
    if not reused:
        report("taking Debian's prebuilt iPXE")
        with _context(context, script, {}) as folder:
            (folder / "pxelinux.cfg").mkdir()
            (folder / "pxelinux.cfg/default").write_text(_PXELINUX)
            build_files("iPXE", folder, "Dockerfile.prebuilt", target, names, report)
    return IpxeBuild("prebuilt", reason, {name: target / name for name in names}, "pxelinux.0", "ipxe.efi", reused)


@contextmanager
def _context(assets: Path, script: str, options: Mapping[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rackctl-ipxe-") as name:
        folder = Path(name) / "context"
        shutil.copytree(assets, folder)
        (folder / "script.ipxe").write_text(script)
        for empty in ("options", "trust"):
            (folder / empty).mkdir()
        for path, raw in options.items():
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(raw)
        yield folder


def _check_binaries(target: Path, files: dict[str, Path]) -> None:
    for name, file in files.items():
        if fault := find_fault(name, file.read_bytes()):
            shutil.rmtree(target)
            raise EngineError(f"{name} came out with {fault}", remedy="rackctl build-ipxe again")
