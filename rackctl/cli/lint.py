"""CLI. lint: faults named with file, line and reason before any machine boots."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackctl.cli.app import RackOption, app
from rackctl.cli.out import say

if TYPE_CHECKING:
    from rackctl.core.lint.rules import Finding


@app.command()
def lint(
    files: Annotated[list[Path] | None, typer.Argument(help="Files to read (default: the whole rack).")] = None,
    rack: RackOption = Path(),
    form: Annotated[str, typer.Option("--format", help="text, json, github or sarif.")] = "text",
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend, in the files named.")] = False,
    only: Annotated[str, typer.Option("--select", help="Codes or their beginnings, comma-separated.")] = "",
    ignore: Annotated[str, typer.Option(help="Codes or their beginnings, comma-separated.")] = "",
    explain: Annotated[str, typer.Option(help="Explain one rule, with an example.")] = "",
    rules: Annotated[bool, typer.Option("--rules", help="List every rule.")] = False,
) -> None:
    """Name every fault with its line and reason; needs no engine. Exit code 2 if there is an error.

    Example: rackctl lint cloud-config.yml --fix
    """
    from rackctl import __version__
    from rackctl.core.lint import report, text
    from rackctl.errors import ConfigError

    if form not in report.FORMATS:
        raise ConfigError(f"no format is called {form}", remedy=f"one of {', '.join(report.FORMATS)}")
    if explain or rules:
        say(report.explain(explain) if explain else report.list_rules())
        return
    found = _lint_files(files, fix, form) if files else _lint_rack(rack, form)
    found = text.select(found, _codes(only), _codes(ignore))
    shown = report.report(found, form, __version__)
    if shown:
        say(shown)
    if form == "text":
        say(report.summary(found) or ("no faults in " + (", ".join(map(str, files)) if files else "the rack")))
    if any(one.severity == "error" for one in found):
        sys.exit(ConfigError.exit_code)


def _codes(text: str) -> list[str]:
    return [code.strip().upper() for code in text.split(",") if code.strip()]


def _lint_files(files: list[Path], fix: bool, form: str) -> list[Finding]:
    from rackctl.core.lint.text import fix_text, guess_kind, lint_text

    found: list[Finding] = []
    for file in files:
        if file.name in ("rack.yml", "rack.yaml"):
            found += _lint_rack(file.parent, form)
            continue
        content = _read(file)
        kind = guess_kind(file.name, content)
        if fix:
            mended, made = fix_text(kind, content)
            if made:
                with open(file, "w", newline="", encoding="utf-8") as handle:
                    handle.write(mended)
                print(f"{file}: {made} mended", file=sys.stderr)
            content = mended
        found += lint_text(kind, content, str(file))
    return found


def _read(file: Path) -> str:
    from rackctl.errors import ConfigError

    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError as wrong:
        raise ConfigError("is not UTF-8 text", where=str(file), remedy="save it as UTF-8") from wrong
    except OSError as wrong:
        raise ConfigError(
            f"cannot be read: {wrong.strerror}", where=str(file), remedy="name a readable file"
        ) from wrong


def _lint_rack(rack: Path, form: str) -> list[Finding]:
    from rackctl.adapters.folder import RackFolder
    from rackctl.adapters.lockfile import read_lock
    from rackctl.core.config.sources import Inputs
    from rackctl.core.lint.run import lint_rack
    from rackctl.errors import ConfigError
    from rackctl.inputs import read_inputs
    from rackctl.ipxebuild import check_loaders

    folder = RackFolder(rack)
    try:
        found_rack = folder.read_rack()
        inputs = read_inputs(folder, found_rack, read_lock(folder.path))
    except ConfigError:
        # People get the error as every command tells it; a pipeline gets findings, if there is a text to point into.
        if form == "text" or not (folder.path / "rack.yml").is_file():
            raise
        inputs = Inputs(rack_text=_read(folder.path / "rack.yml"))
    else:
        check_loaders(folder, found_rack)
    found = lint_rack(inputs.rack_text, inputs, folder.catalog())
    beside = Path(rack) if str(rack) != "." else Path()
    return [replace(one, file=str(beside / one.file)) for one in found]
