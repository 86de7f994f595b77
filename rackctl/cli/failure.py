"""CLI. Whatever ended a command becomes one message (what, where, remedy) and a documented exit code."""

from __future__ import annotations

import errno
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer

from rackctl import __version__
from rackctl.cli.out import plain
from rackctl.errors import BusyError, ConfigError, InternalError, RackError

STOPPED = 130  # 128 + SIGINT, as shells report it

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_UNUSABLE = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})


def tell_failure(error: BaseException, argv: Sequence[str]) -> int:
    """Print the one message of a failed command and return its exit code; argv: its words, without the program."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        print("rackctl: stopped", file=sys.stderr)
        return STOPPED
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined] # click's, or the copy of it that newer typers carry
        return ConfigError.exit_code
    found = as_rack_error(error)
    if isinstance(found, InternalError):
        found.remedy = _report(error, argv)
    print(plain(f"rackctl: {found}"), file=sys.stderr)
    return found.exit_code


def as_rack_error(error: BaseException) -> RackError:
    """The error as people can meet it. What rackctl does not understand is an InternalError."""
    if isinstance(error, RackError):
        return error
    if hasattr(error, "format_message"):
        return _usage_error(error)
    if isinstance(error, OSError):
        where = str(error.filename or "")
        if error.errno in _FULL:
            return BusyError(
                "the disk is full", where, "free some space, then run again; what was served before is still served"
            )
        cache = "set XDG_CACHE_HOME to a folder that you may write to" if "/.cache" in where else ""
        if error.errno in _REFUSED and where:
            remedy = cache or "run as the user who owns it, or make it writable for you"
            return RackError(f"not allowed: {error.strerror}", where, remedy)
        if error.errno in _UNUSABLE and where:
            return RackError(f"cannot be used: {error.strerror}", where, cache or "name another file or folder")
    text = " ".join(str(error).split())
    return InternalError(f"unexpected {type(error).__name__}" + (f": {text[:300]}" if text else ""))


def _usage_error(error: BaseException) -> ConfigError:
    # click's UsageError, known by its methods: newer typers carry a copy of click under another name.
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "rackctl"
    text = " ".join(error.format_message().split()).replace("Value error, ", "")  # type: ignore[attr-defined]
    return ConfigError(text, remedy=f"{command} --help")


def _report(error: BaseException, argv: Sequence[str]) -> str:
    """Write the traceback to a file that only this user can read, and say where it is."""
    text = (
        f"rackctl {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')}  rackctl {' '.join(argv)}\n\n"
        + "".join(traceback.format_exception(error))
    )
    for folder in (_rack_folder(argv) / ".rackctl", Path(tempfile.gettempdir())):
        try:
            handle, file = tempfile.mkstemp(prefix="report-", suffix=".txt", dir=folder)
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as out:
                out.write(text)
        except OSError:
            continue
        return f"this is a fault of rackctl; the traceback is in {file}: please report it with that file"
    return "this is a fault of rackctl, and no folder could be written for the traceback: please report it"


def _rack_folder(argv: Sequence[str]) -> Path:
    """The folder that the command was about, as far as its words tell."""
    words = list(argv)
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--rack":
            return Path(following)
        if word.startswith("--rack="):
            return Path(word.removeprefix("--rack="))
    return Path(os.environ.get("RACKCTL_RACK", ""))
