"""Every command has help with an example and a place in docs/cli.md, which is made from the commands themselves."""

import importlib.util
import os
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_docs", ROOT / "scripts" / "cli-docs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCS = load_script()
COMMANDS: dict[str, Any] = DOCS.find_commands()


def test_docs_cli_is_not_stale() -> None:
    if os.environ.get("UPDATE_DOCS"):
        DOCS.FILE.write_text(DOCS.render())
        pytest.fail("docs/cli.md was written; read the difference, then run without UPDATE_DOCS")
    assert DOCS.FILE.read_text() == DOCS.render(), "docs/cli.md is stale: python scripts/cli-docs.py writes it"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_and_an_example_that_it_understands(name: str) -> None:
    command = COMMANDS[name]
    about, example = DOCS.split_help(command)
    assert about.endswith("."), "the first paragraph says what it does, in sentences"
    assert example.startswith(name), f"the help ends with a line like: Example: {name} ..."
    words = shlex.split(example, comments=True)[len(name.split()) :]
    until_pipe = words[: next((n for n, word in enumerate(words) if word in ("|", ">", "&&")), len(words))]
    command.make_context(name, until_pipe, resilient_parsing=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_is(name: str) -> None:
    mute = [param.name for param in COMMANDS[name].params if not getattr(param, "help", "")]
    assert not mute
