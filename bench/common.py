"""What the benchmarks share: interleaved rounds, the C helpers, a ceiling in a container, how a result is printed."""

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
RACKCTL = str(Path(sys.executable).with_name("rackctl"))
BASE = "debian:trixie-slim"
LABEL = "org.rackctl.role=bench"


def interleave(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every case once a round, in an order that turns by one each round: other work meets all of them alike."""
    names = list(cases)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            found[name].append(cases[name]())
    return found


def ratio(found: Mapping[str, list[float]], case: str, base: str) -> float:
    """The median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(found[case], found[base], strict=True))


def show_rates(found: Mapping[str, list[float]], case: str, base: str) -> float:
    """Print both rates (bytes a second) and how they compare; the ratio of the best rounds.

    Other work on the machine can only slow a round down, so the best round of each is the least disturbed one.
    """
    for name, values in found.items():
        print(f"  {name:<16} best {max(values) / 1e6:.0f} MB/s, median {statistics.median(values) / 1e6:.0f} MB/s")
    best = max(found[case]) / max(found[base])
    middle = ratio(found, case, base)
    print(f"  {case} to {base}: {best:.2f} best to best, {middle:.2f} the median of {len(found[case])} rounds")
    return best


def verdict(what: str, value: float, limit: float, unit: str = "", least: bool = False) -> int:
    """Print one result beside its limit. 0 when it is kept, 1 when not: the exit code."""
    kept = value >= limit if least else value <= limit
    bound = f"{'at least' if least else 'at most'} {limit:g}{unit}"
    print(f"{what}: {value:.2f}{unit} ({bound}: {'kept' if kept else 'MISSED'})")
    return 0 if kept else 1


def compiled(name: str) -> Path:
    """bench/c/NAME.c as a static program, by the gcc here or else by one in a container."""
    target = Path(tempfile.gettempdir()) / f"rackctl-bench-{name}"
    words = ["-O2", "-static", "-o"]
    if shutil.which("gcc"):
        subprocess.run(["gcc", *words, str(target), str(HERE / f"c/{name}.c")], check=True)
        return target
    recipe = f"FROM {BASE}\nRUN apt-get -q update && apt-get -qy install --no-install-recommends gcc libc6-dev\n"
    subprocess.run(
        ["docker", "build", "-q", "-t", "rackctl/bench-gcc", "--label", LABEL, "-"],
        input=recipe.encode(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    command = [
        "docker",
        "run",
        "--rm",
        "--label",
        LABEL,
        "-v",
        f"{HERE}/c:/c:ro",
        "-v",
        f"{target.parent}:/out",
        "rackctl/bench-gcc",
    ]
    subprocess.run([*command, "gcc", *words, f"/out/{target.name}", f"/c/{name}.c"], check=True)
    return target


@contextmanager
def ceiling(program: Path, file: Path, options: list[str], arguments: list[str]) -> Iterator[None]:
    """The program in a container as confined as the services are, serving /file, until the block ends."""
    confined = [
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "--pids-limit",
        "64",
        "-m",
        "128m",
    ]
    mounts = ["-v", f"{program}:/ceiling:ro", "-v", f"{file}:/file:ro"]
    command = [
        "docker",
        "run",
        "-d",
        "--rm",
        "--label",
        LABEL,
        *confined,
        *mounts,
        *options,
        BASE,
        "/ceiling",
        *arguments,
    ]
    container = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield
    finally:
        subprocess.run(["docker", "rm", "-f", container], check=False, capture_output=True)


def load(argv: list[str], expected: int) -> float:
    """Run a load client; bytes a second. Anything unfinished ends the benchmark."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds, size, complete = (done.stdout.split() or ["0", "0", "0"])[:3]
    if int(complete) != expected:
        raise SystemExit(f"{argv[0]}: {complete} of {expected} complete in {seconds} s {done.stderr}")
    return int(size) / float(seconds)
