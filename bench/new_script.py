"""A new embedded script to binaries ready to serve, in the source lane, beside a clean build of the same binaries and
an engine build that does nothing.

python bench/new_script.py [ROUNDS]    needs a clone of iPXE in the cache; the first build of the objects is not counted
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import BASE, LABEL, interleave, verdict

from rackctl.adapters.ipxe import build_ipxe
from rackctl.adapters.ipxesource import PINNED_COMMIT, in_cache
from rackctl.core.ipxe.recipe import Recipe
from rackctl.core.targets import DEFAULT_TARGETS
from rackctl.supply import CACHE

OUT = CACHE / "ipxe-out"


def script() -> str:
    return f"#!ipxe\necho {time.time_ns()}\nshell\n"


def new_script() -> float:
    """Seconds of one build; what it made is removed."""
    embedded = script()
    start = time.perf_counter()
    build = build_ipxe(embedded, OUT, CACHE, Recipe("source"), lambda _: None)
    took = time.perf_counter() - start
    made = next(iter(build.files.values())).parents[1]
    if build.reused or embedded.encode() not in build.files["ipxe.efi"].read_bytes():
        raise SystemExit("ipxe.efi does not carry the new script")
    shutil.rmtree(OUT / made.name)
    (OUT / f"{made.name}.lock").unlink(missing_ok=True)
    return took


def clean() -> float:
    """Seconds of one build that finds no objects: of a commit with one file more, which no compiler reads."""
    with tempfile.TemporaryDirectory() as name:
        clone = f"{name}/clone"
        git = ["git", "-c", "safe.directory=*", "-c", "user.name=bench", "-c", "user.email=bench"]
        subprocess.run([*git, "clone", "-q", "--shared", "--no-checkout", in_cache(CACHE)[-1], clone], check=True)
        subprocess.run([*git, "-C", clone, "checkout", "-q", PINNED_COMMIT], check=True)
        Path(clone, "BENCH").write_text(str(time.time_ns()))
        subprocess.run([*git, "-C", clone, "add", "BENCH"], check=True)
        subprocess.run([*git, "-C", clone, "commit", "-q", "-m", "bench"], check=True)
        found = subprocess.run([*git, "-C", clone, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        embedded = script()
        start = time.perf_counter()
        made = build_ipxe(embedded, Path(name, "out"), CACHE, Recipe(clone, found.stdout.strip()), lambda _: None)
        took = time.perf_counter() - start
        usual = build_ipxe(embedded, OUT, CACHE, Recipe("source"), lambda _: None)
        same = all(file.read_bytes() == usual.files[target].read_bytes() for target, file in made.files.items())
        print(
            f"a clean build and a new script's are {'the same bytes' if same else 'DIFFERENT'}: {', '.join(made.files)}"
        )
        return took


def nothing() -> float:
    """Seconds of an engine build that copies one new small file and hands it out."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "script").write_text(str(time.time_ns()))
        Path(name, "Dockerfile").write_text(
            f"FROM {BASE} AS a\nCOPY script /\nRUN cat /script\nFROM scratch\nCOPY --from=a /script /\n"
        )
        start = time.perf_counter()
        command = ["docker", "buildx", "build", "-q", "--label", LABEL, "--output", f"type=local,dest={name}/out", name]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> int:
    new_script()
    cases = {"an engine build of one line": nothing, "a new embedded script": new_script}
    found = interleave(cases, int(sys.argv[1]) if sys.argv[1:] else 4)
    for name, values in found.items():
        print(f"{name:<28} {min(values):.1f} s at best, median {statistics.median(values):.1f} s")
    whole, best, targets = clean(), min(found["a new embedded script"]), len(DEFAULT_TARGETS)
    print(
        f"{'a clean build':<28} {whole:.0f} s, once: {whole / best:.0f} times a new script; {targets} targets in both"
    )
    return verdict("a new embedded script, for each target", best / targets, 3.0, " s")


sys.exit(main())
