"""Adapter: the only place where other programs are started."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import subprocess
import sys
import tempfile
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rackctl.errors import EngineError, RackError

CANNOT_START = "cannot be started"  # what the driver `command` knows such a fault by


def _unstarted(
    program: str,
    wrong: OSError,
    error: type[RackError] = EngineError,
    remedy: str = "",
) -> RackError:
    """Why the program did not even begin, and what helps."""
    if wrong.filename not in (None, program):  # the folder to start it in
        return error(f"{program} {CANNOT_START}: {wrong.strerror}: {wrong.filename}", remedy=remedy)
    # A file that is there and "not found" lacks its interpreter.
    if isinstance(wrong, FileNotFoundError) and not ("/" in program and os.path.lexists(program)):
        return error(f"{program} is not installed", remedy=remedy or f"install {program}")
    chmod = f"chmod +x {shlex.quote(program)}; its first line names its interpreter"
    return error(f"{program} {CANNOT_START}: {wrong.strerror or wrong}", remedy=chmod)


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    error: type[RackError] = EngineError,
    remedy: str = "",
    shown: str = "",
) -> bytes:
    """Run a program to its end and return its stdout.

    timeout is in seconds; env is added to the present environment; shown: what errors call the command. Raises `error`
    with the last lines of stderr when the program is absent, fails or takes too long.
    """
    shown = shown or " ".join(argv[:4])
    try:
        done = subprocess.run(  # noqa: S603 argv is a list, never a shell line
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except OSError as wrong:
        raise _unstarted(argv[0], wrong, error, remedy) from wrong
    except subprocess.TimeoutExpired as late:
        raise error(f"{shown} did not end within {timeout:g} s", remedy=remedy) from late
    if done.returncode:
        tail = b"\n".join((done.stderr or done.stdout).strip().splitlines()[-12:]).decode(errors="replace")
        raise error(f"{shown} failed ({done.returncode}): {tail}", remedy=remedy)
    return done.stdout


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    error: type[RackError] = EngineError,
    remedy: str = "",
) -> None:
    """Run a program and hand each line of its stdout and stderr, as it comes, to on_line."""
    last: list[str] = []
    try:
        child = subprocess.Popen(  # noqa: S603 argv is a list, never a shell line
            list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd
        )
    except OSError as wrong:
        raise _unstarted(argv[0], wrong, error, remedy) from wrong
    with child:
        assert child.stdout is not None  # noqa: S101 PIPE was asked for
        for raw in child.stdout:
            line = raw.decode(errors="replace").rstrip()
            last = [*last[-11:], line]
            on_line(line)
    if child.returncode:
        raise error(f"{' '.join(argv[:4])} failed ({child.returncode}):\n" + "\n".join(last), remedy=remedy)


@contextmanager
def leashed(argv: Sequence[str], stdout: Path, stderr: Path, *, grace: float = 30.0) -> Iterator[Callable[[], bool]]:
    """Run a program that ends when its stdin closes, as long as the block lasts; yields "is it alive?".

    The kernel closes the pipe when this process dies, however it dies. A session of its own keeps Ctrl-C from reaching
    the program first: it is stopped by its leash and has `grace` seconds to clean up.
    """
    with open(stdout, "wb") as out, open(stderr, "wb") as err:
        try:
            child = subprocess.Popen(  # noqa: S603 argv is a list, never a shell line
                list(argv), stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True
            )
        except OSError as wrong:
            raise _unstarted(argv[0], wrong) from wrong
    assert child.stdin is not None  # noqa: S101 PIPE was asked for
    try:
        yield lambda: child.poll() is None
    finally:
        child.stdin.close()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@dataclass(frozen=True)
class Pipes:
    """A program that is talked with, line by line. wait: its return code; it is killed after so many seconds."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    wait: Callable[[float], int]

    def complaint(self) -> str:
        """The last lines of its stderr; read it after the end."""
        self.stderr.seek(0)
        return b"\n".join(self.stderr.read().strip().splitlines()[-12:]).decode(errors="replace")


@contextmanager
def talking(argv: Sequence[str]) -> Iterator[Pipes]:
    """Run a program and hand over its pipes; when the block ends, its stdin is closed and it has 5 s to end by itself.

    A session of its own: Ctrl-C reaches us alone, and the program ends by its closed stdin. Raises EngineError.
    """
    with tempfile.TemporaryFile() as err:
        try:
            child = subprocess.Popen(  # noqa: S603 argv is a list, never a shell line
                list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, start_new_session=True
            )
        except OSError as wrong:
            raise _unstarted(argv[0], wrong) from wrong
        assert child.stdin is not None and child.stdout is not None  # noqa: S101 PIPE was asked for

        def wait(seconds: float) -> int:
            try:
                return child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()

        try:
            yield Pipes(child.stdin, child.stdout, err, wait)
        finally:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
            wait(5)
            child.stdout.close()


def attach(argv: Sequence[str], first: bytes, on_output: Callable[[bytes], None], goodbye: bytes) -> int:
    """Run a program with this terminal as its keyboard, and return its exit code.

    first: is written to its stdin before any key. on_output: takes what it prints. Keys are handed on raw, one by one,
    Ctrl-C too; where stdin is no terminal, Ctrl-C writes `goodbye` and waits for the program's end. Raises EngineError.
    """
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    try:
        child = subprocess.Popen(  # noqa: S603 argv is a list, never a shell line
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as wrong:
        raise _unstarted(argv[0], wrong) from wrong
    assert child.stdin is not None and child.stdout is not None  # noqa: S101 PIPE was asked for
    try:
        if before is not None:
            tty.setraw(keyboard)
        _relay(keyboard, first, child.stdin.fileno(), child.stdout.fileno(), on_output)
    except KeyboardInterrupt:
        with contextlib.suppress(BrokenPipeError):
            os.write(child.stdin.fileno(), goodbye)
    finally:
        if before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        try:
            child.wait(30)  # a busy engine takes seconds to remove a container, and its client waits for that
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    return child.returncode


def _relay(keyboard: int, first: bytes, to_child: int, from_child: int, on_output: Callable[[bytes], None]) -> None:
    """Both ways until the program closes its output."""
    os.write(to_child, first)
    watched = [keyboard, from_child]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if from_child in ready:
            got = os.read(from_child, 65536)
            if not got:
                return
            on_output(got)
        if keyboard in ready:
            typed = os.read(keyboard, 4096)
            if not typed:
                watched.remove(keyboard)  # a closed stdin: there is still something to see
                continue
            with contextlib.suppress(BrokenPipeError):
                os.write(to_child, typed)


def start_detached(argv: Sequence[str], log: Path) -> int:
    """Start a program that outlives this one, its output in a file; returns its pid. Raises EngineError."""
    with open(log, "wb") as out:
        try:
            child = subprocess.Popen(  # noqa: S603 argv is a list, never a shell line
                list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        except OSError as wrong:
            raise _unstarted(argv[0], wrong) from wrong
    return child.pid
