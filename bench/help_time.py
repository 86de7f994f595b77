"""`rackctl --help`, warm, beside what cannot be had for less: the interpreter, and typer itself.

python bench/help_time.py [ROUNDS]
"""

import os
import subprocess
import sys
import time

from common import RACKCTL, interleave, ratio, verdict

CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import typer, rich'": [sys.executable, "-c", "import typer, rich"],
    "rackctl --help": [RACKCTL, "--help"],
}
LIMIT = 0.15
wall: dict[str, list[float]] = {name: [] for name in CASES}


def cpu(name: str) -> float:
    """CPU seconds of one run; how long it took by the clock is noted on the side."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(CASES[name], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    wall[name].append(time.perf_counter() - start)
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    for name in CASES:
        cpu(name)
    found = interleave({name: lambda name=name: cpu(name) for name in CASES}, int(sys.argv[1]) if sys.argv[1:] else 20)
    for name, values in found.items():
        print(f"{name:<31} CPU {min(values):.2f} s  wall {min(wall[name]):.3f} s (the best of {len(values)})")
    print(f"CPU against typer and rich alone: {ratio(found, 'rackctl --help', CASES and list(CASES)[1]):.2f}")
    return verdict("rackctl --help, wall", min(wall["rackctl --help"]), LIMIT, " s")


sys.exit(main())
