"""CLI. build-ipxe: the iPXE binaries of a rack, and the proof that they boot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say, teller

if TYPE_CHECKING:
    from rackctl.adapters.ipxe import IpxeBuild
    from rackctl.ipxeprove import Proven


@app.command("build-ipxe")
def build_ipxe(
    target: Annotated[
        list[str] | None,
        typer.Option("--target", help="A binary by name, or all (default: what this rack's nodes need)."),
    ] = None,
    prove: Annotated[bool, typer.Option("--prove", help="Boot each in the lab until it asks for its script.")] = False,
    output: Annotated[Path | None, typer.Option(help="Folder to copy them to, with iPXE's licences.")] = None,
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Build the iPXE binaries with this rack's boot script in them, for BIOS, UEFI x86_64, ia32, arm64, sticks and CDs.

    Example: rackctl build-ipxe --target snponly-arm64.efi --prove
    """
    from rackctl.adapters import engine
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.ipxe.binaries import choose_targets
    from rackctl.core.targets import needed_targets
    from rackctl.ipxebuild import build_loaders, check_loaders
    from rackctl.ipxeprove import prove_build
    from rackctl.macbuild import add_mac_loaders

    tell = teller(as_json)
    folder = RackFolder(rack)
    found = folder.read_rack()
    wanted = choose_targets(target or (), needed_targets(found))
    check_loaders(folder, found)
    engine.check_engine()
    build = build_loaders(folder, found, tell, wanted)
    if not target:
        build = add_mac_loaders(folder, found, build, tell)
    proofs: list[Proven] = []
    if prove:
        for one in prove_build(folder, found, build, tell):
            proofs.append(one)
            how = (
                f"asked for its script {one.seconds:.0f} s after power-on"
                if one.firmware
                else "not proven: no firmware"
            )
            tell(f"  {one.target} on {one.firmware or 'a Mac'}: {how}")
    if output:
        _copy(build, output)
    if as_json:
        typer.echo(json.dumps(_to_json(build, proofs)))
        return
    if found.ipxe.source == "signed":
        say("UEFI machines get upstream's signed binaries: rackctl fetch brings them, rackctl up serves them")
    state = "nothing to build: script, options and commit are those of the last build" if build.reused else "built"
    say(f"iPXE: {build.lane} lane ({build.reason}); {state}")
    for name, file in build.files.items():
        say(f"  {name:<18} {file.stat().st_size:>8} bytes  {output / name if output else file}")


def _to_json(build: IpxeBuild, proofs: list[Proven]) -> dict[str, object]:
    from rackctl.adapters.fetch.store import hash_file

    files = {}
    for name, file in build.files.items():
        files[name] = {"path": str(file), "size": file.stat().st_size, "sha256": hash_file(file)}
    return {
        "lane": build.lane,
        "reason": build.reason,
        "reused": build.reused,
        "files": files,
        "proven": [one.to_json() for one in proofs],
    }


def _copy(build: IpxeBuild, output: Path) -> None:
    import shutil

    for name, file in [*build.files.items(), *((one.name, one) for one in build.licences)]:
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(target.name + ".part")
        shutil.copyfile(file, aside)
        aside.rename(target)
