"""CLI. Builds only the commands that a command line names.

typer turns every function of every module into a command with all its parameters, about 1 ms each, before it looks at
the first word. A command that the line does not name is only listed, so its name and its docstring are enough.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Sequence

import typer
from typer.models import CommandInfo, TyperInfo


def narrow(app: typer.Typer, argv: Sequence[str]) -> typer.Typer:
    """A copy of the app in which the commands and groups that argv does not name are names with a help line."""
    if "_RACKCTL_COMPLETE" in os.environ:  # the shell asks for completions: the words are in COMP_WORDS, not in argv
        return app
    named = copy.copy(app)
    named.registered_commands = [one if _name(one) in argv else _stub(one) for one in app.registered_commands]
    named.registered_groups = [one if _group_name(one) in argv else _stub_group(one) for one in app.registered_groups]
    return named


def _name(info: CommandInfo) -> str:
    return info.name or getattr(info.callback, "__name__", "").lower().replace("_", "-")


def _group_name(info: TyperInfo) -> str:
    if isinstance(info.name, str):
        return info.name
    return str(info.typer_instance.info.name) if info.typer_instance else ""


def _stub(info: CommandInfo) -> CommandInfo:
    stub = copy.copy(info)
    stub.name, stub.help, stub.callback = _name(info), info.help or inspect.getdoc(info.callback), _never_called
    return stub


def _stub_group(info: TyperInfo) -> TyperInfo:
    stub = copy.copy(info)
    stub.typer_instance = copy.copy(info.typer_instance)
    if stub.typer_instance:
        stub.typer_instance.registered_commands, stub.typer_instance.registered_groups = [], []
    return stub


def _never_called() -> None:
    raise AssertionError("a command ran that the command line does not name")
