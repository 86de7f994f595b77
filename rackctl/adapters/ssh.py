"""Adapter: runs commands on other machines over SSH, with the user's own keys and configuration."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from rackctl.adapters.proc import run
from rackctl.errors import BootError

_CONNECT = 10  # seconds, the handshake included: a machine that is off must not hold up the others
_ALIVE = ("ServerAliveInterval=5", "ServerAliveCountMax=3")  # 15 s after a machine went silent, not at the timeout
_TIMEOUT = 60  # seconds for one script
_REMEDY = "ssh to it by hand once: is it on, is Remote Login enabled, is your key there?"


def run_remote(login: str, script: str, *, config: Path | None = None, stdin: bytes | None = None) -> str:
    """Run a shell script on `login` and return its output. Raises BootError with what it said on stderr."""
    if not shutil.which("ssh"):
        raise BootError("ssh is not installed", remedy="install OpenSSH's client (Debian: openssh-client)")
    settings = ("BatchMode=yes", f"ConnectTimeout={_CONNECT}", *_ALIVE)
    options = [word for setting in settings for word in ("-o", setting)] + (["-F", str(config)] if config else [])
    argv = ["ssh", *options, "--", login, script]
    out = run(argv, stdin=stdin, timeout=_TIMEOUT, error=BootError, remedy=_REMEDY, shown=f"ssh {login}")
    return out.decode(errors="replace")


def sudo_line(argv: Sequence[str], *, password: bool) -> str:
    """The remote shell's line for argv as root. password: sudo reads one from stdin, so that no argv has it."""
    return shlex.join(["sudo", *(["-S", "-p", ""] if password else ["-n"]), *argv])
