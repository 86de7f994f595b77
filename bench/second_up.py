"""A `rackctl up` with nothing changed, beside the engine's own `docker compose ps`.

python bench/second_up.py RACK [ROUNDS]    RACK is up
"""

import statistics
import subprocess
import sys
import time

from common import RACKCTL, interleave, verdict
from rack import running_rack


def timed(argv: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    if argv[0] == RACKCTL and "nothing to do" not in done.stdout:
        raise SystemExit(f"this was not a second up: {done.stdout}")
    return time.perf_counter() - start


def main() -> int:
    folder = running_rack(sys.argv[1:])
    up = [RACKCTL, "up", "--rack", str(folder.path)]
    subprocess.run(up, capture_output=True, check=True)
    file = folder.work / "served/current/compose.yml"
    ps = ["docker", "compose", "-p", folder.project, "--project-directory", str(folder.work), "-f", str(file), "ps"]
    cases = {"docker compose ps": lambda: timed(ps), "rackctl up": lambda: timed(up)}
    found = interleave(cases, int(sys.argv[2]) if sys.argv[2:] else 9)
    for name, values in found.items():
        print(f"{name:<18} {min(values):.2f} s at best, median {statistics.median(values):.2f} s")
    beyond = statistics.median(a - b for a, b in zip(found["rackctl up"], found["docker compose ps"], strict=True))
    return verdict("a second up beyond docker compose ps", beyond, 1.0, " s")


sys.exit(main())
