#!/usr/bin/env python3
"""Writes docs/cli.md from the commands themselves: python scripts/cli-docs.py"""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from rackctl import errors
from rackctl.cli.app import app, load_commands

FILE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """\
# Every command

`scripts/cli-docs.py` writes this page from the commands; `rackctl COMMAND --help` says the same.

A command finds its rack by `--rack FOLDER`, else by the variable `RACKCTL_RACK`, else in the folder where it is run.
With `--json` it prints one JSON value on stdout; progress goes to stderr. `NO_COLOR` is honoured, and without a
terminal the output is plain lines. What is fetched and built is kept in `$XDG_CACHE_HOME/rackctl`, by default
`~/.cache/rackctl`.

## Exit codes
```
"""


def find_commands() -> dict[str, Any]:
    """Every command with its words, as Typer knows it."""
    load_commands()
    return dict(sorted(_walk("rackctl", typer.main.get_command(app)), key=lambda pair: pair[0]))


def render() -> str:
    """The page."""
    codes = (errors.__doc__ or "").partition("\n\n")[2].strip()
    parts = [f"{HEAD}{codes}\n```\n"]
    for name, command in find_commands().items():
        about, example = split_help(command)
        rows = "".join(_row(param) for param in command.params if "--help" not in param.opts)
        table = f"\n| | | default |\n|---|---|---|\n{rows}" if rows else ""
        parts.append(f"\n## {name}\n{about}\n\n```\n{example}\n```\n{table}")
    return "".join(parts)


def split_help(command: Any) -> tuple[str, str]:
    """What a command does, and its example."""
    about, _, example = (command.help or "").partition("Example: ")
    return " ".join(about.split()), example.strip()


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    if command.invoke_without_command:  # a group that does something by itself, like `rackctl nodes`
        yield name, command
    for word, one in inner.items():
        if not one.hidden:
            yield from _walk(f"{name} {word}", one)


def _row(param: Any) -> str:
    words = f"`{param.name}`" if param.param_type_name == "argument" else " ".join(f"`{word}`" for word in param.opts)
    default = param.default.value if isinstance(param.default, Enum) else param.default
    shown = "required" if param.required else f"`{default}`" if default not in (None, False, "", [], ()) else ""
    return f"| {words} | {(getattr(param, 'help', '') or '').replace('|', '&#124;')} | {shown} |\n"


if __name__ == "__main__":
    FILE.write_text(render())
    print(f"wrote {FILE}")
