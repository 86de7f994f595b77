"""Folds a million log lines, ten a boot, as `rackctl nodes` does: python bench/fold.py [LINES]. CPU seconds, memory."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import verdict

from rackctl.core.status import Known
from rackctl.follow import Follower

LINES = 1_000_000
# 10 s on a machine whose Python reads a million such lines as JSON in 2.8 s: a shared one takes longer for both.
TIMES_JSON, MEBIBYTES = 10 / 2.8, 100.0


def boot_lines(n: int, machines: int = 200) -> tuple[str, str]:
    """Four lines of the tftp log and six of the http log."""
    k = n % machines
    ip, mac, at = f"10.98.{k // 100}.{50 + k % 100}", f"52-54-00-00-00-{k:02x}", 1763930000.0 + n * 3
    said = (f"dnsmasq-dhcp: DHCPDISCOVER(br0) {mac.replace('-', ':')}",
            f"dnsmasq-dhcp: DHCPACK(br0) {ip} {mac.replace('-', ':')}",
            f"dnsmasq-tftp: error 0 TFTP Aborted received from {ip}",
            f"dnsmasq-tftp: sent /srv/current/tftp/undionly.kpxe to {ip}")  # fmt: skip
    facts = f"mac={mac}&uuid=7e1f3cc0-1111-2222-3333-444455556666&serial=SN%2d{k}&platform=pcbios&buildarch=i386"
    asked = ((2, "GET", f"/boot/{mac}.ipxe?{facts}&manufacturer=QEMU&product=Standard%20PC", 200, 512),
             (3, "GET", f"/os/discovery/builtin/vmlinuz?m={mac}", 200, 12171200),
             (5, "GET", f"/os/discovery/builtin/initrd?m={mac}", 200, 18138077), (9, "GET", f"/config/{mac}", 200, 312),
             (10, "PUT", f"/inventory/{mac}.json", 201, 0),
             (11, "GET", f"/checkin?mac={mac}&hostname=n{k}&os=discovery&uptime=7.{n}", 200, 3))  # fmt: skip
    tftp = "".join(f'{{"t":{at + i / 10:.6f},"line":"{line}"}}\n' for i, line in enumerate(said))
    http = "".join(
        f'{{"end":{at + after:.3f},"ip":"{ip}","port":"49152","m":"{method}","uri":"{uri}","st":{status},"sent":{sent},'
        f'"len":"{sent}","range":"","dur":0.100,"done":"OK","ua":"iPXE/1.21.1+git-20220113.fbbdc3926"}}\n'
        for after, method, uri, status, sent in asked
    )
    return tftp, http


def write_logs(work: Path, lines: int) -> None:
    """Into work/logs, as the services write them."""
    (work / "logs").mkdir(parents=True)
    with open(work / "logs/tftp.jsonl", "w") as tftp, open(work / "logs/http.jsonl", "w") as http:
        for n in range(lines // 10):
            for file, text in zip((tftp, http), boot_lines(n), strict=True):
                file.write(text)


def read_json(work: Path) -> float:
    """CPU seconds for every line as JSON, and no more."""
    started = time.process_time()
    for name in ("tftp", "http"):
        with open(work / f"logs/{name}.jsonl") as lines:
            for line in lines:
                json.loads(line)
    return time.process_time() - started


def fold(work: Path) -> dict[str, float]:
    """In a process of its own: what it took, and JSON before and after it."""
    before = read_json(work)
    started = time.process_time()
    follower = Follower(work, Known())
    follower.read(float("inf"))
    boots = len(follower.timelines(2e9))
    spent = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": spent, "json": (before + read_json(work)) / 2, "mebibytes": peak, "boots": boots}


def main() -> int:
    if sys.argv[1:2] == ["--fold"]:
        print(json.dumps(fold(Path(sys.argv[2]))))
        return 0
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    with tempfile.TemporaryDirectory() as folder:
        write_logs(Path(folder), lines)
        words = [sys.executable, __file__, "--fold", folder]
        found = json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)
    print(f"{lines} lines, {found['boots']:.0f} boots remembered: folded in {found['seconds']:.1f} s of CPU,", end=" ")
    print(f"read as JSON in {found['json']:.1f} s")
    missed = verdict("folded to read as JSON", found["seconds"] / found["json"], TIMES_JSON)
    return verdict("peak memory", found["mebibytes"], MEBIBYTES, " MiB") | missed


if __name__ == "__main__":
    sys.exit(main())
