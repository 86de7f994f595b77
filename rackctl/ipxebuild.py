"""Builds a rack's iPXE: reads what rack.yml's `ipxe:` section names, checks the script, hands both to the builder."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rackctl.adapters import engine, ipxe
from rackctl.adapters.folder import RackFolder
from rackctl.core.ipxe.features import built_commands
from rackctl.core.ipxe.headers import render_headers
from rackctl.core.ipxe.recipe import Recipe
from rackctl.core.ipxe.script import check_script
from rackctl.core.ipxe.settings import IpxeSettings
from rackctl.core.ipxe.signed import LOADER, NAMES, RELEASE, SCRIPT, SIGNED
from rackctl.core.model import Rack
from rackctl.core.render import render_embed
from rackctl.core.targets import needed_targets
from rackctl.errors import ConfigError, EngineError
from rackctl.supply import CACHE, Release

OUT = CACHE / "ipxe-out"
_MOST = 1 << 20  # bytes of a certificate or a patch
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"

Report = Callable[[str], None]


def build_loaders(
    folder: RackFolder,
    rack: Rack,
    report: Report,
    targets: Sequence[str] = (),
    boot: str = "boot",
) -> ipxe.IpxeBuild:
    """The iPXE binaries with this rack's script. targets: default: what its machines can need.

    boot: the folder of HTTP where they look for the machine's script. Raises ConfigError
    for a script, certificate or patch that cannot be used, and what `build_ipxe` raises.
    """
    script = read_script(folder, rack, boot)
    wanted = targets or needed_targets(rack)
    recipe = read_recipe(folder, rack)
    if recipe.source == SIGNED:  # the half for BIOS machines, which know no Secure Boot
        recipe, wanted = replace(recipe, source="auto"), ("undionly.kpxe",)
    try:
        return ipxe.build_ipxe(script, OUT, CACHE, recipe, report, wanted)
    except EngineError:
        engine.check_engine()  # says it better than a build that reached no engine
        raise


def add_signed(folder: RackFolder, rack: Rack, build: ipxe.IpxeBuild, releases: Sequence[Release]) -> ipxe.IpxeBuild:
    """The same build with upstream's signed binaries for UEFI, where rack.yml asks for them; script beside them."""
    release = next((one for one in releases if one.os == RELEASE), None)
    if rack.ipxe.source != SIGNED or release is None:
        return build
    script = read_script(folder, rack).encode()
    beside = OUT / f"script-{hashlib.sha256(script).hexdigest()[:16]}" / SCRIPT
    if not beside.exists():
        beside.parent.mkdir(parents=True, exist_ok=True)
        aside = beside.with_suffix(".part")
        aside.write_bytes(script)
        aside.rename(beside)
    files = {name: file for name, file in build.files.items() if not name.endswith(".efi")} | {SCRIPT: beside}
    for artifact, names in NAMES.items():
        files |= dict.fromkeys(names, release.artifacts[artifact].path)
    reason = f"iPXE {release.version}, signed by its project; for BIOS: {build.lane} lane, {build.reason}"
    return replace(build, lane=SIGNED, reason=reason, files=files, efi_file=LOADER)


def check_loaders(folder: RackFolder, rack: Rack) -> None:
    """What can be said of the build before anything is made, built or fetched. Raises ConfigError."""
    read_script(folder, rack)
    _read_trust(folder, rack.ipxe)
    _read_patches(folder, rack.ipxe)


def read_script(folder: RackFolder, rack: Rack, boot: str = "boot") -> str:
    """The script to embed: the rack's own file, else the template. Raises ConfigError with the line of each fault."""
    changes = rack.ipxe.command_changes
    built = built_commands(changes, "bios") & built_commands(changes, "efi")
    if rack.ipxe.script is None:
        return check_script(render_embed(rack, boot).encode(), "the boot script's template", built)
    if boot != "boot":
        raise ConfigError("icons per OS need the script that rackctl makes", "rack.yml: ipxe.script", "leave one out")
    return check_script(_read(folder, rack.ipxe.script, "script"), rack.ipxe.script, built)


def read_recipe(folder: RackFolder, rack: Rack) -> Recipe:
    """What else goes into the build. Makes the rack's CA when HTTPS needs one. Raises ConfigError."""
    settings = rack.ipxe
    trust = _read_trust(folder, settings)
    if settings.https:
        from rackctl.adapters.rackca import ca_certificate  # cryptography is for those who ask for HTTPS

        trust.insert(0, ca_certificate(folder.path))
    headers = render_headers(settings)
    patches = _read_patches(folder, settings)
    return Recipe(settings.source, settings.ref or "", headers, tuple(trust), patches, settings.is_plain)


def _read_trust(folder: RackFolder, settings: IpxeSettings) -> list[bytes]:
    return [one for name in settings.trust for one in _read_certificates(folder, name)]


def _read_certificates(folder: RackFolder, name: str) -> list[bytes]:
    from cryptography.x509 import load_pem_x509_certificate  # for those who trust a CA of their own

    raw = _read(folder, name, "trust")
    found = []
    for number, rest in enumerate(raw.split(_BEGIN)[1:], 1):
        body, end, _ = rest.partition(_END)
        found.append(_BEGIN + body + _END + b"\n")
        try:
            load_pem_x509_certificate(found[-1] if end else b"")
        except ValueError as wrong:
            message = f"certificate {number} in it {'cannot be read' if end else 'has no -----END CERTIFICATE-----'}"
            raise ConfigError(
                message, f"{folder.path / name}", f"openssl x509 -in {name} -noout -text says what is wrong with it"
            ) from wrong
    if not found:
        raise ConfigError("has no certificate in PEM form in it", f"{folder.path / name}", "it begins with -----BEGIN")
    return found


def _read_patches(folder: RackFolder, settings: IpxeSettings) -> dict[str, dict[str, bytes]]:
    """*.patch of the folder are for every target, those of NAME/ in it for the target NAME alone."""
    from rackctl.core.ipxe.binaries import BINARIES

    if settings.patches is None:
        return {}
    root = folder.path / settings.patches
    if not root.is_dir():
        message = f"there is no folder {settings.patches}"
        raise ConfigError(message, "rack.yml: ipxe.patches", "put NAME.patch files there")
    found: dict[str, dict[str, bytes]] = {}
    for file in sorted(root.rglob("*.patch")):
        scope = str(file.parent.relative_to(root))
        scope = "" if scope == "." else scope
        if scope and (scope not in BINARIES or not BINARIES[scope].make):
            known = ", ".join(key for key, one in BINARIES.items() if one.make)
            raise ConfigError(f"there is no target {scope!r}", str(file.parent), f"a folder is named like: {known}")
        found.setdefault(scope, {})[file.name] = _read(folder, str(file.relative_to(folder.path)), "patches")
    return found


def _read(folder: RackFolder, name: str, key: str) -> bytes:
    file: Path = folder.path / name
    try:
        about = file.stat()
        if not stat.S_ISREG(about.st_mode):  # a pipe would never end
            raise ConfigError("is not a file", str(file), f"rack.yml: ipxe.{key} names it")
        if about.st_size > _MOST:
            raise ConfigError(f"larger than {_MOST} bytes", str(file), f"rack.yml: ipxe.{key} names it")
        return file.read_bytes()
    except OSError as wrong:
        raise ConfigError(
            f"cannot be read: {wrong.strerror}", str(file), f"rack.yml: ipxe.{key} names it; paths are from its folder"
        ) from wrong
