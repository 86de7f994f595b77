"""A new embedded script to binaries ready to serve, in the source lane, beside an engine build that does nothing.

python bench/new_script.py [ROUNDS]    needs iPXE's source in the cache; the first build of the objects is not counted
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
from rackctl.core.ipxe.recipe import Recipe
from rackctl.supply import CACHE

OUT = CACHE / "ipxe-out"


def new_script() -> float:
    """Seconds of one build; what it made is removed."""
    start = time.perf_counter()
    script = f"#!ipxe\necho {time.time_ns()}\nshell\n"
    build = build_ipxe(script, OUT, CACHE, Recipe("source"), lambda _: None)
    took = time.perf_counter() - start
    made = next(iter(build.files.values())).parents[1]
    if build.reused or script.encode() not in build.files["ipxe.efi"].read_bytes():
        raise SystemExit("ipxe.efi does not carry the new script")
    shutil.rmtree(OUT / made.name)
    (OUT / f"{made.name}.lock").unlink(missing_ok=True)
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
    return verdict("a new embedded script", min(found["a new embedded script"]), 5.0, " s")


sys.exit(main())
