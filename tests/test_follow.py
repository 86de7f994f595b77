"""The status page's files: kept by a follower that may be killed at any time, also in a bare interpreter."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rackctl.adapters.inventories import forget_installed, start_over
from rackctl.core.status import MAX_UNKNOWN, Known, make_status, render_metrics
from rackctl.core.statustree import read_code
from rackctl.follow import STREAM_BYTES, Follower

T0 = 1763930000.0
WHILE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import rackctl.statusd as statusd
statusd.TICK = 0.01
statusd.main(Path(sys.argv[1]), Path(sys.argv[3]))
"""


def append(file, text):
    with open(file, "a") as handle:
        handle.write(text)


def rotate(file):
    for n in (3, 2):
        if (old := file.with_name(f"{file.name}.{n - 1}")).exists():
            old.rename(file.with_name(f"{file.name}.{n}"))
    file.rename(file.with_name(f"{file.name}.1"))


def make_rack(folder):
    for name in ("logs", "inventory", "state/installed", "status"):
        (folder / name).mkdir(parents=True)
    return folder


def boot_lines(n):
    """(log, line) of boot n: nine lines, each boot of its own machine and 20 s after the one before."""
    mac, ip, at = f"52-54-00-00-{n >> 8:02x}-{n & 255:02x}", f"10.9.{n >> 8}.{n & 255}", T0 + 20 * n
    tftp = [(0, f"dnsmasq-dhcp: DHCPACK(br0) {ip} {mac.replace('-', ':')}"),
            (1, f"dnsmasq-tftp: error 0 TFTP Aborted received from {ip}"),
            (2, f"dnsmasq-tftp: sent /srv/current/tftp/undionly.kpxe to {ip}")]  # fmt: skip
    http = [(3, f"/boot/{mac}.ipxe?mac={mac}&platform=pcbios", "GET", 200), (4, f"/os/d/b/vmlinuz?m={mac}", "GET", 200),
            (6, f"/os/d/b/initrd?m={mac}", "GET", 404 if n % 7 == 3 else 200)]  # fmt: skip
    if n % 7 != 3:
        http += [(8, f"/config/{mac}", "GET", 200), (9, f"/inventory/{mac}.json", "PUT", 201),
                 (10, f"/checkin?mac={mac}&hostname=n{n}&os=d&uptime=4", "GET", 200)]  # fmt: skip
    for after, line in tftp:
        yield "tftp", json.dumps({"t": at + after, "line": line}) + "\n"
    for after, uri, method, status in http:
        row = {"end": at + after, "ip": ip, "port": "1", "m": method, "uri": uri, "st": status, "sent": 5, "len": "5",
               "range": "", "dur": 0.5, "done": "OK", "ua": ""}  # fmt: skip
        yield "http", json.dumps(row) + "\n"


def shown(status):
    """What must not depend on when it was read."""
    return {node["mac"]: (node["verdict"], node.get("stages"), node.get("history")) for node in status["nodes"]}


def bare(work, tmp_path):
    """The status container's program: no site-packages, the code as the tree holds it."""
    code, current = tmp_path / "code", tmp_path / "current"
    for name, content in read_code().items():
        (code / "rackctl" / name).parent.mkdir(parents=True, exist_ok=True)
        (code / "rackctl" / name).write_bytes(content)
    (current / "status").mkdir(parents=True, exist_ok=True)
    (current / "status/known.json").write_text(
        '{"names": {"52:54:00:00:00:01": "n1"}, "unknown": "discover", "port": 83, "server": "10.9.9.9"}'
    )
    return [sys.executable, "-I", "-S", "-c", WHILE, str(work), str(code), str(current)]


def test_kills_at_any_moment_change_no_timeline(tmp_path):
    """Fifty boots' worth of lines arrive, with rotations, while the program is killed with SIGKILL again and again."""
    chance = random.Random(5)
    work, still = make_rack(tmp_path / "work"), make_rack(tmp_path / "still")
    argv, kills, status = bare(work, tmp_path), 0, work / "status/status.json"
    program = subprocess.Popen(argv)
    try:
        for n in range(50):
            for log, line in boot_lines(n):
                append(work / f"logs/{log}.jsonl", line)
                append(still / f"logs/{log}.jsonl", line)
            if n in (17, 38):
                for log in ("http", "tftp"):
                    rotate(work / f"logs/{log}.jsonl")
            if n % 5 == 4:
                time.sleep(chance.random() * 0.4)
                program.send_signal(signal.SIGKILL)
                program.wait()
                kills += 1
                if status.exists():
                    json.loads(status.read_text())  # whole at every moment
                program = subprocess.Popen(argv)
        undisturbed = Follower(still, Known(names={"52:54:00:00:00:01": "n1"}))
        undisturbed.read(time.time())
        wanted = shown(undisturbed.status(time.time(), live=True))
        end = time.monotonic() + 90
        while time.monotonic() < end and (not status.exists() or shown(json.loads(status.read_text())) != wanted):
            time.sleep(0.1)
        assert shown(json.loads(status.read_text())) == wanted
    finally:
        program.kill()
        program.wait()
    assert kills == 10
    assert len(wanted) == 50
    assert sum(verdict == "stuck" for verdict, _, _ in wanted.values()) == 7


def test_reading_as_lines_come_is_reading_at_the_end(tmp_path):
    one, other = make_rack(tmp_path / "one"), make_rack(tmp_path / "other")
    piecewise = Follower(one, Known())
    for n in range(20):
        for log, line in boot_lines(n):
            append(one / f"logs/{log}.jsonl", line)
            append(other / f"logs/{log}.jsonl", line)
            piecewise.read(T0 + 20 * n + 1)
    piecewise.read(float("inf"))
    whole = Follower(other, Known())
    whole.read(float("inf"))
    assert [t.to_json() for t in piecewise.timelines(2e9)] == [t.to_json() for t in whole.timelines(2e9)]


@pytest.mark.serial
def test_ten_thousand_unknown_machines_in_a_minute_are_bounded(tmp_path):
    work = make_rack(tmp_path)
    lines = [line for n in range(10_000) for log, line in boot_lines(n) if log == "http" and "/boot/" in line]
    append(work / "logs/http.jsonl", "".join(lines))
    follower = Follower(work, Known(names={"02:00:00:00:00:01": "mine"}))
    started = time.process_time()
    events = follower.read(float("inf"))
    status = follower.write(T0 + 300_000, events)
    assert time.process_time() - started < 5
    assert len(status["nodes"]) == MAX_UNKNOWN + 1
    assert status["nodes"][0]["name"] == "mine"
    assert status["left_out"] + status["forgotten"] == 10_000 - MAX_UNKNOWN
    assert (work / "status/status.json").stat().st_size < 512 * 1024
    assert (work / "status/events.jsonl").stat().st_size <= STREAM_BYTES
    assert "52:54" not in (work / "status/metrics.prom").read_text()


def test_the_container_needs_under_forty_mebibytes(tmp_path):
    work = make_rack(tmp_path / "work")
    for n in range(6000):
        for log, line in boot_lines(n):
            with open(work / f"logs/{log}.jsonl", "a") as handle:
                handle.write(line)
    program = subprocess.Popen(bare(work, tmp_path))
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and not (work / "status/status.json").exists():
            time.sleep(0.2)
        time.sleep(1)
        rollup = Path(f"/proc/{program.pid}/smaps_rollup")
        fields = dict(line.split(":", 1) for line in rollup.read_text().splitlines()[1:])
        private = sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
    finally:
        program.kill()
        program.wait()
    assert (work / "status/status.json").exists()
    assert private < 40 * 1024, f"{private} kB"


def test_logs_of_any_length_fold_in_a_hundred_mebibytes():
    """As many boots as are remembered and six times more; `bench/fold.py` alone folds a million lines."""
    bench = Path(__file__).parents[1] / "bench/fold.py"
    said = subprocess.run([sys.executable, bench, "200000"], capture_output=True, text=True, timeout=300).stdout
    assert "200000 lines, " in said
    assert float(said.partition("peak memory: ")[2].split()[0]) < 100


def test_a_second_look_at_nothing_new_writes_nothing(tmp_path):
    work = make_rack(tmp_path)
    append(work / "logs/http.jsonl", "".join(line for log, line in boot_lines(1) if log == "http"))
    follower = Follower(work, Known())
    follower.write(T0 + 100, follower.read(float("inf")))
    before = (work / "status/status.json").stat().st_ino
    follower.write(T0 + 101, follower.read(float("inf")))
    assert (work / "status/status.json").stat().st_ino == before
    follower.write(T0 + 120, [])
    assert (work / "status/status.json").stat().st_ino != before


def test_metrics_are_prometheus_text(tmp_path):
    work = make_rack(tmp_path)
    append(work / "logs/http.jsonl", "".join(line for log, line in boot_lines(1) if log == "http"))
    follower = Follower(work, Known(names={"52:54:00:00:00:01": "n1"}))
    follower.read(float("inf"))
    text = render_metrics(follower.status(2e9, live=True), follower.counts)
    for line in text.splitlines():
        assert line.startswith(("# HELP rackctl_", "# TYPE rackctl_", "rackctl_"))
        assert line.startswith("#") or float(line.rpartition(" ")[2]) >= 0
    assert 'rackctl_boot_up{node="n1",mac="52:54:00:00:00:01"} 1' in text
    assert 'rackctl_events_total{stage="checkin"} 1' in text


@pytest.mark.parametrize(("unknown", "macs"), [("discover", 2), ("ignore", 1)])
def test_ignored_machines_are_not_shown(tmp_path, unknown, macs):
    work = make_rack(tmp_path)
    append(work / "logs/http.jsonl", "".join(line for n in (1, 2) for log, line in boot_lines(n) if log == "http"))
    follower = Follower(work, Known(names={"52:54:00:00:00:01": "n1"}, unknown=unknown))
    follower.read(float("inf"))
    assert len(make_status(follower.timelines(2e9), follower.known, 2e9, live=False)["nodes"]) == macs


def test_a_node_is_reinstalled_once_when_rack_yml_says_so(tmp_path):
    installed, asked, mac = tmp_path / "installed", tmp_path / "again", "52:54:00:00:00:01"
    installed.mkdir()
    mark = installed / mac.replace(":", "-")
    mark.touch()
    start_over(installed, asked, {mac})
    assert not mark.exists()
    mark.touch()  # it was installed again
    start_over(installed, asked, {mac})
    assert mark.exists()
    start_over(installed, asked, set())
    start_over(installed, asked, {mac})
    assert not mark.exists()
    assert forget_installed(installed, mac) is False
    assert os.listdir(asked) == [mark.name]


def test_what_the_master_asks_itself_is_no_boot(tmp_path):
    work = make_rack(tmp_path)
    append(work / "logs/http.jsonl", "".join(line for log, line in boot_lines(1) if log == "http"))
    follower = Follower(work, Known(server="10.9.0.1"))
    follower.read(float("inf"))
    assert follower.timelines(2e9) == []


def test_lines_that_are_late_in_their_log_are_folded_in_order_of_time(tmp_path):
    work = make_rack(tmp_path)
    lines = [line for n in range(20) for log, line in boot_lines(n) if log == "http"]
    random.Random(7).shuffle(lines)
    append(work / "logs/http.jsonl", "".join(lines))
    seen = []
    Follower(work, Known()).read(float("inf"), seen.append)
    assert len(seen) == len(lines)
    assert [one.time for one in seen] == sorted(one.time for one in seen)
