"""Adapter: the only place where other programs are started."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rackctl.errors import EngineError, RackError


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    error: type[RackError] = EngineError,
    remedy: str = "",
) -> bytes:
    """Run a program to its end and return its stdout.

    timeout is in seconds; env is added to the present environment. Raises `error` with the last
    lines of stderr when the program is absent, fails or takes too long.
    """
    shown = " ".join(argv[:4])
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
    except FileNotFoundError as absent:
        raise error(f"{argv[0]} is not installed", remedy=remedy or f"install {argv[0]}") from absent
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
    except FileNotFoundError as absent:
        raise error(f"{argv[0]} is not installed", remedy=remedy or f"install {argv[0]}") from absent
    with child:
        assert child.stdout is not None  # noqa: S101 PIPE was asked for
        for raw in child.stdout:
            line = raw.decode(errors="replace").rstrip()
            last = [*last[-11:], line]
            on_line(line)
    if child.returncode:
        raise error(f"{' '.join(argv[:4])} failed ({child.returncode}):\n" + "\n".join(last), remedy=remedy)


@contextmanager
def leashed(argv: Sequence[str], stdout: Path, stderr: Path, *, grace: float = 15.0) -> Iterator[Callable[[], bool]]:
    """Run a program that ends when its stdin closes, as long as the block lasts; yields "is it alive?".

    The kernel closes the pipe when this process dies, however it dies. A session of its own keeps Ctrl-C from reaching
    the program first: it is stopped by its leash and has `grace` seconds to clean up.
    """
    with open(stdout, "wb") as out, open(stderr, "wb") as err:
        try:
            child = subprocess.Popen(  # noqa: S603 argv is a list, never a shell line
                list(argv), stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True
            )
        except FileNotFoundError as absent:
            raise EngineError(f"{argv[0]} is not installed", remedy=f"install {argv[0]}") from absent
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
