"""`rackctl --help` answers at once: what takes long to import is imported inside the command that uses it."""

import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from rackctl.cli.lazy import narrow

HEAVY = ("pydantic", "jinja2", "requests", "docker", "python_on_whales", "ruamel", "sushy", "rich", "yaml")

# The entry point imports the command modules itself, so a new one is seen here without being named.
_HELP = """
import atexit, sys
sys.argv = ["rackctl", "--help"]
atexit.register(lambda: print("loaded:", *sorted({name.split(".")[0] for name in sys.modules})))
from rackctl.cli.app import main
main()
"""
_ONE_BY_ONE = """
import pkgutil, sys
import rackctl.cli
for module in pkgutil.iter_modules(rackctl.cli.__path__, "rackctl.cli."):
    before = set(sys.modules)
    __import__(module.name)
    print(module.name, *sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_loads_nothing_heavy() -> None:
    out = _python(_HELP)
    assert "build-ipxe" in out
    assert set(out.split("loaded:")[1].split()).isdisjoint(HEAVY)


def test_no_command_module_loads_anything_heavy() -> None:
    lines = [line.split() for line in _python(_ONE_BY_ONE).splitlines()]
    assert "rackctl.cli.services" in [line[0] for line in lines]
    assert {line[0]: found for line in lines if (found := set(line[1:]) & set(HEAVY))} == {}


def _app() -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.callback()(lambda: None)
    group = typer.Typer(help="A group.")
    app.add_typer(group, name="lab")

    @app.command("build-ipxe")
    def build(name: str, count: int = 1) -> None:
        """Build it."""
        print(name * count)

    @app.command()
    def show_all() -> None:
        """Show it."""

    @group.command()
    def boot(node: str = "") -> None:
        """Boot it."""
        print("boots", node)

    return app


@pytest.mark.parametrize(
    "argv", [["build-ipxe", "x", "--count", "3"], ["lab", "boot", "--node", "n"], ["lab"], ["--help"]]
)
def test_a_narrowed_app_answers_as_the_whole_one(argv: list[str]) -> None:
    whole, narrowed = CliRunner().invoke(_app(), argv), CliRunner().invoke(narrow(_app(), argv), argv)
    assert (narrowed.exit_code, narrowed.output) == (whole.exit_code, whole.output)
    assert narrowed.output


@pytest.mark.parametrize("argv", [["buld-ipxe"], ["show"], ["lab", "bot"]])
def test_a_mistyped_command_gets_the_same_answer(argv: list[str]) -> None:
    whole, narrowed = CliRunner().invoke(_app(), argv), CliRunner().invoke(narrow(_app(), argv), argv)
    assert narrowed.exit_code == whole.exit_code == 2
    assert narrowed.output == whole.output
    assert "No such command" in narrowed.output


def test_the_app_itself_is_left_alone() -> None:
    app = _app()
    narrow(app, ["--help"])
    assert CliRunner().invoke(app, ["build-ipxe", "x"]).output == "x\n"


def test_completion_sees_every_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "_RACKCTL_COMPLETE", "complete_bash")
    app = _app()
    assert narrow(app, []) is app
