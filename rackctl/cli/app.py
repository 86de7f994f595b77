"""CLI. The Typer app, its global options, and the one place that prints a RackError and exits."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: the same on a terminal and in a pipe, and rich need not be loaded for it
    help="Bare metal to a running cluster node, from one rack.yml.",
)

RackOption = Annotated[Path, typer.Option("--rack", help="Folder of rack.yml.", envvar="RACKCTL_RACK")]


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def _root() -> None:
    """Bare metal to a running cluster node, from one rack.yml."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write rack.yml.")] = Path(),
    server: Annotated[
        str, typer.Option(help="The master's address as nodes see it (default: that of the default route).")
    ] = "",
) -> None:
    """Write a commented rack.yml; never overwrites.

    Example: rackctl init myrack
    """
    import shlex

    from rackctl.adapters.folder import refuse_existing, write_new
    from rackctl.adapters.host import check_address, default_address, port_is_free, ssh_public_keys
    from rackctl.core.starter import render_starter

    file = folder / "rack.yml"
    refuse_existing(file)
    address = server or default_address()
    check_address(address)
    port = next((p for p in (83, 8083, 8183) if port_is_free(address, p)), 83)
    write_new(file, render_starter(address, port, ssh_public_keys()))
    typer.echo(f"wrote {file}: server {address}, http port {port}\nnext: rackctl up --rack {shlex.quote(str(folder))}")


def load_commands() -> None:
    """Import the modules whose commands register themselves at `app`."""
    from rackctl.cli import (  # noqa: F401 their commands register themselves
        buildipxe,
        bundle,
        config,
        dhcp,
        initrd,
        lab,
        lint,
        mac,
        nodes,
        oses,
        power,
        provision,
        services,
        support,
        watch,
    )


def main() -> None:
    """Entry point. Whatever ends a command becomes one message and its documented exit code."""
    try:
        load_commands()
        from rackctl.cli.lazy import narrow

        code = narrow(app, sys.argv[1:])(standalone_mode=False)
        sys.stdout.flush()
        if code == 130:  # newer typers turn Ctrl-C into this
            raise KeyboardInterrupt
    except (Exception, KeyboardInterrupt) as error:
        from rackctl.cli.failure import tell_failure

        code = tell_failure(error, sys.argv[1:])
        if isinstance(error, KeyboardInterrupt):
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(code)  # an exit in good order would wait for the threads that still download
    sys.exit(code if isinstance(code, int) else 0)
