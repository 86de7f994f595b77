"""The floor: every error a person can meet.

RackError                 exit code 1   anything rackctl understands and cannot carry on from
+-- ConfigError           exit code 2   rack.yml (or an argument) is wrong
+-- EngineError           exit code 3   Docker is absent, too old, or refuses
+-- FetchError            exit code 4   a download failed or its sum is wrong
+-- ServeError            exit code 5   the services do not serve what they should
+-- BootError             exit code 6   a machine did not reach the wanted stage
+-- BusyError             exit code 7   a port, lock or disk is taken or full
+-- PowerError            exit code 8   a BMC did not do what it was asked
+-- InternalError         exit code 70  a fault of rackctl itself; the message names a file with the traceback

A command that was stopped with Ctrl-C ends with 130.
"""

from __future__ import annotations


class RackError(Exception):
    """What happened, where (file:line or URL), and what to do about it."""

    exit_code = 1

    def __init__(self, message: str, where: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.remedy:
            parts.append(f"  -> {self.remedy}")
        return "\n".join(parts)


class ConfigError(RackError):
    """rack.yml or an argument is wrong."""

    exit_code = 2


class EngineError(RackError):
    """Docker is absent, too old, or refuses."""

    exit_code = 3


class FetchError(RackError):
    """A download failed, or what came has the wrong size or sum."""

    exit_code = 4


class ServeError(RackError):
    """The services do not serve what they should."""

    exit_code = 5


class BootError(RackError):
    """A machine did not reach the wanted stage."""

    exit_code = 6


class BusyError(RackError):
    """A port or lock is held by somebody else, or the disk is full."""

    exit_code = 7


class PowerError(RackError):
    """A BMC did not do what it was asked."""

    exit_code = 8


class InternalError(RackError):
    """A fault of rackctl itself: something it did not foresee (70 is EX_SOFTWARE of sysexits.h)."""

    exit_code = 70
