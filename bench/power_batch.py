"""50 BMCs: rackctl in one container, against native ipmitool side by side and against one `docker run` for each.

python bench/power_batch.py [ROUNDS]    needs Docker, and ipmitool on this machine for the native row
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from bmc_sims import PASSWORD, USER, Sim, image, running_sims

from rackctl.adapters.imagebuild import build_image

COUNT, FIRST_PORT = 50, 14000
AS_NATIVE, FASTER = 1.5, 3.0
RACKCTL = str(Path(sys.executable).with_name("rackctl"))


def words(port: int) -> list[str]:
    options = ["-I", "lanplus", "-H", "127.0.0.1", "-p", str(port), "-U", USER, "-C", "3", "-E"]
    return ["ipmitool", *options, "chassis", "power", "status"]


def side_by_side(argvs: list[list[str]]) -> int:
    """Start all at once; how many said that the machine is off."""
    env = {**os.environ, "IPMI_PASSWORD": PASSWORD}
    children = [subprocess.Popen(a, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) for a in argvs]
    return sum(b"is off" in child.communicate()[0] for child in children)


def with_rackctl(folder: Path) -> int:
    done = subprocess.run([RACKCTL, "power", "status", "--all", "--rack", str(folder)], capture_output=True, check=True)
    return done.stdout.count(b"  off  ")


def write_rack(rack: Path, sims: list[Sim]) -> None:
    (rack / "secrets").mkdir()
    (rack / "secrets" / "bmc").write_text(PASSWORD)
    (rack / "secrets" / "bmc").chmod(0o600)
    lines = [
        "server: {address: 127.0.0.1}",
        f"bmc: {{driver: ipmi, address: 127.0.0.1, user: {USER}, cipher: 3}}",
        "nodes:",
    ]
    lines += [f"  {s.name}: {{mac: '52:54:00:00:00:{n:02x}', bmc: {{port: {s.port}}}}}" for n, s in enumerate(sims)]
    (rack / "rack.yml").write_text("\n".join(lines) + "\n")


def main() -> None:
    if not shutil.which("ipmitool"):
        sys.exit("bench: ipmitool is not on this machine, so that there is nothing native to compare with")
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    build_image("ipmi", print)
    with tempfile.TemporaryDirectory() as name, running_sims(Path(name) / "bmcs", COUNT, FIRST_PORT) as sims:
        folder = Path(name)
        write_rack(folder, sims)
        # Debian's ipmitool as it comes, which is what such a tool's image has.
        stock = image()
        docker = ["docker", "run", "--rm", "--network", "host", "-e", "IPMI_PASSWORD", "--entrypoint", "ipmitool"]
        ways: dict[str, Callable[[], int]] = {
            "native, 50 ipmitool side by side": lambda: side_by_side([words(s.port) for s in sims]),
            "rackctl power status --all": lambda: with_rackctl(folder),
            "50 docker run side by side": lambda: side_by_side([[*docker, stock, *words(s.port)[1:]] for s in sims]),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):  # in turns, so that the machine's other load meets all of them
            for name, way in ways.items():
                begin = time.monotonic()
                right = way()
                times[name].append(time.monotonic() - begin)
                if right != COUNT:
                    sys.exit(f"{name}: only {right} of {COUNT} answers are right")
    for name, found in times.items():
        print(f"{name:<34} median {statistics.median(found):6.2f} s   {' '.join(f'{one:.2f}' for one in found)}")
    native, ours, each = (statistics.median(found) for found in times.values())
    print(f"rackctl / native {ours / native:.2f}, at most {AS_NATIVE}")
    print(f"docker run each / rackctl {each / ours:.1f}, at least {FASTER}")
    sys.exit(0 if ours <= AS_NATIVE * native and each >= FASTER * ours else 1)


if __name__ == "__main__":
    main()
