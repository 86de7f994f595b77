"""CLI. os: what can be booted, and how each is verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import JsonOption, RackOption, app
from rackctl.cli.out import say

if TYPE_CHECKING:
    from rackctl.core.catalog import Entry

oses = typer.Typer(no_args_is_help=True, help="The catalogue of operating systems, and your own catalog/ folder.")
app.add_typer(oses, name="os")


@oses.command("list")
def list_oses(rack: RackOption = Path(), as_json: JsonOption = False) -> None:
    """Every OS that rack.yml can name; a rack's own catalog/ folder counts.

    Example: rackctl os list
    """
    from rackctl.adapters.folder import RackFolder

    catalog = RackFolder(rack).catalog()
    entries = {name: catalog.get(name) for name in catalog.names()}
    if as_json:
        typer.echo(json.dumps({name: entry.model_dump(mode="json") for name, entry in entries.items()}))
        return
    for name, entry in entries.items():
        own = " (your own)" if catalog.is_own(name) else ""
        ended = f"  ENDED: {entry.end_of_life}" if entry.end_of_life else ""
        say(f"{name:<14} {entry.default:<11} {entry.verification:<20} {entry.about}{own}{ended}")


@oses.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `rackctl os list`.")],
    rack: RackOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """One OS: its versions, files, verification, kernel arguments and needs.

    Example: rackctl os show rancheros
    """
    from rackctl.adapters.folder import RackFolder

    entry = RackFolder(rack).catalog().get(name)
    if as_json:
        typer.echo(json.dumps(entry.model_dump(mode="json")))
        return
    for line in _describe(name, entry):
        say(line)


@oses.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Files to check (default: the rack's catalog/).")] = None,
    rack: RackOption = Path(),
) -> None:
    """Check catalogue files; each fault is named with its line.

    Example: rackctl os validate catalog/myos.yml
    """
    from rackctl.adapters.folder import RackFolder
    from rackctl.core.catalog import parse_entry
    from rackctl.errors import ConfigError

    chosen = files or sorted((rack / "catalog").glob("*.yml"))
    if not chosen:
        catalog = RackFolder(rack).catalog()
        for name in catalog.names():
            catalog.get(name)
        say(f"the {len(catalog.names())} entries that come with rackctl are good; there is no catalog/ folder here")
        return
    for file in chosen:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as wrong:
            raise ConfigError(f"cannot be read: {wrong}", str(file), "name a YAML file") from wrong
        entry = parse_entry(text, str(file))
        say(f"{file}: {entry.title} is good ({entry.verification})")


def _describe(name: str, entry: Entry) -> list[str]:
    versions = ", ".join(wish.match for wish in entry.wishes)
    lines = [
        f"{name}: {entry.title}. {entry.about}",
        f"  {entry.homepage}",
        f"  version      {entry.default} unless you name one; takes {entry.index.exact or 'no exact one'}; {versions}",
        f"  verified     {entry.verification}",
        f"  RAM          {entry.min_ram} MiB at least",
        f"  runs on      {', '.join(entry.architectures)}; {', '.join(entry.firmware)}",
        f"  config       {entry.config.kind}",
    ]
    if entry.end_of_life:
        lines.insert(1, f"  ENDED        {entry.end_of_life}")
    lines += [f"  file         {one.name} ({one.role})" for one in entry.artifacts]
    if words := (*entry.kernel_args, *entry.config.args):
        lines.append(f"  kernel line  {' '.join(words)}")
    return lines + [f"  note         {note}" for note in entry.notes]
