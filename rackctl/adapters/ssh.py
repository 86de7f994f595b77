"""Adapter: runs commands on other machines over SSH, with the user's own keys and configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rackctl.adapters.proc import run
from rackctl.errors import BootError

_CONNECT = 10  # seconds: a machine that is off must not hold up the others
_REMEDY = "ssh to it by hand once: is it on, is Remote Login enabled, is your key there?"


def run_remote(login: str, script: str, *, config: Path | None = None, stdin: bytes | None = None) -> str:
    """Run a shell script on `login` and return its output. Raises BootError with what it said on stderr."""
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT}", *(["-F", str(config)] if config else [])]
    out = run(["ssh", *options, "--", login, script], stdin=stdin, timeout=60, error=BootError, remedy=_REMEDY)
    return out.decode(errors="replace")


def sudo_line(argv: Sequence[str], *, password: bool) -> str:
    """The remote shell's line for argv as root. password: sudo reads one from stdin, so that no argv has it."""
    return shlex.join(["sudo", *(["-S", "-p", ""] if password else ["-n"]), *argv])
