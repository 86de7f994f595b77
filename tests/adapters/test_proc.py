"""What a program that cannot be started is told as, however it was to be started."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rackctl.adapters.proc import attach, leashed, run, start_detached, stream, talking
from rackctl.errors import EngineError


def _leash(program: str, folder: Path) -> None:
    with leashed([program], folder / "out", folder / "err"):
        pass


def _talk(program: str, _folder: Path) -> None:
    with talking([program]):
        pass


STARTS: dict[str, Callable[[str, Path], object]] = {
    "run": lambda program, _folder: run([program]),
    "stream": lambda program, _folder: stream([program], print),
    "leashed": _leash,
    "talking": _talk,
    "attach": lambda program, _folder: attach([program], b"", lambda _got: None, b""),
    "start_detached": lambda program, folder: start_detached([program], folder / "log"),
}


@pytest.mark.parametrize("how", STARTS)
def test_a_program_that_cannot_be_started(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "my program"
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(EngineError, match="my program is not installed"):
            STARTS[how](str(program), tmp_path)
        for text, mode in (("#!/bin/sh\n", 0o644), ("true\n", 0o755), ("#!/no/such/shell\n", 0o755)):
            program.write_text(text)
            program.chmod(mode)
            with pytest.raises(EngineError, match="my program cannot be started: ") as caught:
                STARTS[how](str(program), tmp_path)
            assert caught.value.remedy == f"chmod +x '{program}'; its first line names its interpreter"


def test_a_folder_that_is_not_there_is_not_the_programs_fault(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"true cannot be started: .*gone"):
        run(["true"], cwd=tmp_path / "gone")
