"""Adapter: container builds, kept by the hash of what went in: images under a tag, files in a folder."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rackctl.adapters.proc import run, stream
from rackctl.assets import find_asset
from rackctl.errors import EngineError

Report = Callable[[str], None]

FIRST = 5.0  # seconds until the first line about a build; each further one comes a third of its age later
_REMEDY = "make engine sets up the base image; the build needs a Debian mirror"
_LOG_LINES = 5000  # a compiler's error is followed by what the other jobs of make still do
_STEP = re.compile(r"#\d+ \[(.+?)\] ")  # BuildKit's plain progress: `#8 [objects 3/3] RUN make ...`


class BuildError(EngineError):
    """A build that failed. log: BuildKit's last lines, where the error itself may stand long before the end."""

    def __init__(self, wrong: EngineError, log: Sequence[str]) -> None:
        super().__init__(wrong.message, wrong.where, wrong.remedy)
        self.log = tuple(log)


class BuildProgress:
    """Takes BuildKit's plain lines and says now and then how long the build runs and at which step it is."""

    def __init__(self, what: str, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._report, self._clock = what, report, clock
        self._start = clock()
        self._due = FIRST
        self._step = "starting"

    def __call__(self, line: str) -> None:
        """One line of BuildKit's; most calls report nothing."""
        if found := _STEP.match(line):
            self._step = found[1]
        age = self._clock() - self._start
        if age >= self._due:
            self._due = age * 4 / 3 + FIRST
            self._report(f"{self._what}: {age:.0f} s, at step {self._step}")


def hash_inputs(folder: Path, *more: str) -> str:
    """First 16 hex digits of the sha256 over every file of a build folder and the other inputs."""
    total = hashlib.sha256()
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        total.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for text in more:
        total.update(hashlib.sha256(text.encode()).digest())
    return total.hexdigest()[:16]


def image_tag(name: str, base: str = "") -> str:
    """The tag of the image that compose/NAME gives on `base`: two equal tags are the same recipe."""
    return f"rackctl/{name}:{hash_inputs(find_asset(f'compose/{name}'), *([base] if base else []))}"


def build_image(name: str, report: Report, base: str = "") -> str:
    """Build the image of compose/NAME unless it is there, and return its tag. base: another's. Raises EngineError."""
    tag = image_tag(name, base)
    try:
        run(["docker", "image", "inspect", "--format", "{{.Id}}", tag], timeout=20)
    except EngineError:
        report(f"building the image {tag}")
        context = str(find_asset(f"compose/{name}"))
        argv = ["docker", "buildx", "build", "--progress=plain", "--load", "-t", tag, context]
        argv[3:3] = ["--build-arg", f"BASE={base}"] if base else []
        stream(argv, BuildProgress(f"image {name}", report), remedy=_REMEDY)
    return tag


def build_files(
    what: str, context: Path, dockerfile: str, target: Path, names: Sequence[str], report: Report, *options: str
) -> None:
    """Run the build and put the files of its last stage into `target`: written aside, then renamed.

    what: for people. names: what target must hold in the end; when it does already (another rackctl was quicker),
    nothing is built. Raises BuildError, EngineError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if all((target / name).is_file() for name in names):
            return
        aside = target.with_name(target.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        argv = ["docker", "buildx", "build", "--progress=plain", "-f", str(context / dockerfile)]
        argv += ["--output", f"type=local,dest={aside}", *options, str(context)]
        _build_logged(argv, BuildProgress(what, report))
        if missing := [name for name in names if not (aside / name).is_file()]:
            raise EngineError(f"the build made no {', '.join(missing)}", str(context / dockerfile), "rackctl up again")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)


def _build_logged(argv: Sequence[str], progress: BuildProgress) -> None:
    log: deque[str] = deque(maxlen=_LOG_LINES)

    def on_line(line: str) -> None:
        log.append(line)
        progress(line)

    try:
        stream(argv, on_line, remedy=_REMEDY)
    except EngineError as wrong:
        raise BuildError(wrong, log) from wrong


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One build of the same thing at a time, over all racks of this user; the kernel frees the lock of a killed one."""
    with open(target.with_name(target.name + ".lock"), "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
