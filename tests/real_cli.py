"""The installed rackctl in a process of its own, as a person runs it, and what each of its refusals must look like."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RACKCTL = str(Path(sys.executable).parent / "rackctl")
Done = subprocess.CompletedProcess[str]


def run_cli(
    *words: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: Sequence[str] = (RACKCTL,),
) -> Done:
    """Run it to its end; env is added to the present environment."""
    return subprocess.run(
        [*program, *map(str, words)],
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def planted(code: str) -> list[str]:
    """A program that is rackctl with this code run first."""
    return [sys.executable, "-c", f"{code}\nfrom rackctl.cli.app import main\nmain()"]


def assert_refused(done: Done, code: int, *says: str) -> None:
    """One message with what, where and remedy on stderr, the exit code, and no traceback."""
    text = done.stderr
    assert done.returncode == code, f"exit {done.returncode}:\n{done.stdout}{text}"
    assert "Traceback" not in text + done.stdout
    messages = [line for line in text.splitlines() if line.startswith("rackctl: ")]
    assert len(messages) == 1, text
    assert text.splitlines()[-1].startswith("  -> "), f"no remedy at the end:\n{text}"
    for part in says:
        assert part in text, f"{part!r} is not in:\n{text}"
