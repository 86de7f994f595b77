"""watch, nodes, timeline and adopt as programs, over logs with what hostile machines would send."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from real_cli import assert_refused, planted, run_cli
from waiting import wait_for

RACKCTL = Path(sys.executable).with_name("rackctl")
T0 = time.time() - 3000
ESCAPES = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\r\n\x00"


@pytest.fixture
def rack(tmp_path):
    (tmp_path / "rack.yml").write_text(
        '# mine\nserver: {address: 10.9.200.1}\nnodes:\n  n1: {mac: "52:54:00:00:00:01"}  # one\n'
    )
    for name in ("logs", "inventory", "state/installed", "status"):
        (tmp_path / ".rackctl" / name).mkdir(parents=True)
    return tmp_path


def http(at, ip, uri, status=200, sent=5):
    return {"end": at, "ip": ip, "port": "1", "m": "GET", "uri": uri, "st": status, "sent": sent, "len": "5",
            "range": "", "dur": 0.1, "done": "OK" if sent == 5 else "", "ua": ""}  # fmt: skip


def boot(n, at, name="", up=True):
    mac, ip = f"52-54-00-00-{n >> 8:02x}-{n & 255:02x}", f"10.9.{n >> 8}.{n & 255}"
    rows = [http(at, ip, f"/boot/{mac}.ipxe?mac={mac}"), http(at + 1, ip, f"/os/d/b/vmlinuz?m={mac}"),
            http(at + 2, ip, f"/os/d/b/initrd?m={mac}")]  # fmt: skip
    return [*rows, *([http(at + 9, ip, f"/checkin?mac={mac}&hostname={quote(name)}&os=d")] if up else [])]


def log(rack, rows, name="http"):
    with open(rack / f".rackctl/logs/{name}.jsonl", "a") as handle:
        handle.write("".join(json.dumps(row) + "\n" for row in rows))


def run(rack, *words, want=0, **kw):
    done = subprocess.run([RACKCTL, *words], cwd=rack, capture_output=True, text=True, timeout=300, **kw)
    assert done.returncode == want, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def follow(rack, *words):
    return subprocess.Popen(
        [RACKCTL, "watch", *words], cwd=rack, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


class Said:
    """What a program says, read as it comes."""

    def __init__(self, child):
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(child.stdout), daemon=True)
        self.reader.start()

    def until(self, word):
        """All of it, once that word has come."""
        assert wait_for(lambda: any(word in line for line in list(self.lines))), self.lines
        return "".join(self.lines)

    def all(self):
        """All of it, after the program's end."""
        self.reader.join(60)
        return "".join(self.lines)


def end(child):
    """End a program whose output somebody reads."""
    child.send_signal(signal.SIGINT)
    child.wait(60)
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()


def stop(child, how=signal.SIGINT):
    child.send_signal(how)
    out, err = child.communicate(timeout=60)
    assert "Traceback" not in err
    return out


def hook(rack):
    """A hook that keeps each JSON that it is given in a file by the machine's MAC."""
    file = rack / "hook.sh"
    file.write_text('#!/bin/sh\ncat >"$1/new.$$" && mv "$1/new.$$" "$1/$$.json"\n')
    file.chmod(0o755)
    told = rack / "told"
    told.mkdir(exist_ok=True)
    return f"{file} {told}", lambda: [json.loads(one.read_text()) for one in told.glob("*.json")]


def test_nothing_that_machines_say_reaches_the_terminal_as_a_command(rack):
    log(rack, boot(2, T0, f"evil{ESCAPES}"))
    log(rack, [http(T0 + 20, "10.9.0.9", f"/boot/52-54-00-00-00-09.ipxe?mac={quote(ESCAPES)}&product={quote(ESCAPES)}"),
               http(T0 + 21, f"10.9.0.9{ESCAPES}", "/checkin?mac=x"),
               http(T0 + 22, "10.9.0.9", f"/os/d/b/vmlinuz{quote(ESCAPES)}?m=52-54-00-00-00-09", 404)])  # fmt: skip
    log(rack, [{"t": T0 + 30, "line": f"dnsmasq-tftp: file /srv/{ESCAPES} not found for 10.9.0.9"},
               {"t": T0 + 31, "line": f"{ESCAPES} what?"}], "tftp")  # fmt: skip
    inventory = {"mac": "x", "system": {"vendor": ESCAPES + "Dell", "serial": "../../" + ESCAPES}}
    (rack / ".rackctl/inventory/52-54-00-00-00-02.json").write_text(json.dumps(inventory))
    shown = run(rack, "nodes") + run(rack, "watch", "--once") + run(rack, "timeline", "52:54:00:00:00:02")
    shown += run(rack, "timeline", "52:54:00:00:00:09")
    assert "evil" in shown and "Dell" in shown and "3 log lines could not be read" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\u202e" not in shown
    for words in (["nodes", "--json"], ["timeline", "52:54:00:00:00:02", "--json"]):
        assert run(rack, *words).isascii()
    assert [json.loads(line)["stage"] for line in run(rack, "watch", "--once", "--json").splitlines()][:2] == [
        "script", "kernel"]  # fmt: skip


def test_the_hook_is_told_of_each_machine_once_across_kills(rack):
    command, told = hook(rack)
    log(rack, [*boot(1, T0, "n1"), *boot(2, T0 + 20, ESCAPES), *boot(3, T0 + 40, up=False)])
    log(rack, [http(T0 + 60, "10.9.0.4", "/boot/52-54-00-00-00-04.ipxe?mac=52-54-00-00-00-04"),
               http(T0 + 61, "10.9.0.4", "/checkin?mac=52-54-00-00-00-04&state=local")])  # fmt: skip
    child = follow(rack, "--on-checkin", command)
    noted = rack / ".rackctl/announced"  # a kill before that is there has the hook told once more
    assert wait_for(lambda: noted.exists() and len(noted.read_text().split()) == 2)
    assert len(told()) == 2
    stop(child, signal.SIGKILL)
    child = follow(rack, "--on-checkin", command)
    log(rack, boot(5, time.time() - 10, "new"))
    said = Said(child)
    said.until("told the hook of 52:54:00:00:00:05")
    time.sleep(1.2)
    end(child)
    out = said.all()
    found = {one["mac"]: one for one in told()}
    assert len(told()) == 3  # nobody twice; not who never came up, nor who went to its own disk
    assert set(found) == {"52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:05"}
    first = found["52:54:00:00:00:01"]
    assert (first["name"], first["known"], first["hostname"]) == ("n1", True, "n1")
    assert found["52:54:00:00:00:05"]["verdict"] == "done"
    assert "told the hook of 52:54:00:00:00:05" in out


def test_the_hook_is_told_of_more_machines_than_the_page_shows(rack):
    log(rack, [row for n in range(1, 331) for row in boot(n, T0 + n)])
    rack.joinpath("count.sh").write_text('#!/bin/sh\ncat >/dev/null\necho >>"$1"\n')
    rack.joinpath("count.sh").chmod(0o755)
    run(rack, "watch", "--once", "--on-checkin", f"{rack}/count.sh {rack}/told")
    assert (rack / "told").read_text().count("\n") == 330


def test_a_hook_that_fails_is_tried_again_and_then_left(rack):
    log(rack, boot(1, T0))
    child = follow(rack, "--on-checkin", "false")
    try:
        assert "try 4 of 5" in Said(child).until("try 5 of 5")
        time.sleep(1.2)
    finally:
        end(child)
    assert "is not installed" in run(rack, "watch", "--once", "--on-checkin", "no-such-program")


@pytest.mark.parametrize(
    ("words", "says"),
    [(["watch", "--once", "--on-checkin", "foo '"], "No closing quotation"),
     (["watch", "--once", "--on-checkin", " "], "names no program"),
     (["timeline", "n1", "--boot", "-1"], "--boot")],
)  # fmt: skip
def test_words_that_cannot_be_meant(rack, words, says):
    log(rack, boot(1, T0))
    assert_refused(run_cli(*words, cwd=rack), 2, says)


FULL = (
    "import rackctl.follow as f\ndef full(*a, **k): raise OSError(28, 'No space left on device')\nf.write_aside = full"
)
READ_ONLY = "import rackctl.adapters.folder as f\ndef no(*a): raise OSError(30, 'Read-only file system', 'page.lock')\n"
READ_ONLY += "f.RackFolder._hold = no"


@pytest.mark.parametrize("disk", [FULL, READ_ONLY], ids=["full", "read-only"])
@pytest.mark.parametrize(("words", "says"), [(["nodes"], "n1 "), (["watch", "--once"], "checkin")])
def test_a_disk_that_takes_no_page_hides_nothing(rack, disk, words, says):
    log(rack, boot(1, T0))
    done = run_cli(cwd=rack, program=planted(f"{disk}\nimport sys; sys.argv[1:] = {words}"))
    assert done.returncode == 0 and says in done.stdout, done.stderr
    assert done.stderr.count("the status page is not brought up to date: ") == 1


def test_a_hook_is_told_though_that_cannot_be_noted(rack):
    log(rack, [*boot(1, T0), *boot(2, T0 + 20)])
    (rack / ".rackctl/announced").symlink_to(rack / "absent/file")
    done = run_cli("watch", "--once", "--on-checkin", "true", cwd=rack)
    assert done.returncode == 0 and done.stderr.count("cannot be noted") == 2, done.stdout + done.stderr


def streamed(rack):
    """(MAC, stage) of each event on the page's stream."""
    rows = map(json.loads, (rack / ".rackctl/status/events.jsonl").read_text().rpartition("\n")[0].splitlines())
    return [(row["mac"], row["stage"]) for row in rows]


def test_two_watches_keep_one_page_and_the_second_takes_over(rack):
    status = rack / ".rackctl/status/status.json"
    first = follow(rack)
    assert wait_for(status.exists)
    second = follow(rack)
    try:
        for n in range(1, 40):
            log(rack, boot(n, time.time() - 10))
            json.loads(status.read_text())  # whole at every moment
            time.sleep(0.03)
            if n == 20:  # neither it nor `nodes` says that nobody keeps the page
                run(rack, "nodes")
                assert json.loads(status.read_text())["live"]
        assert wait_for(lambda: len(json.loads(status.read_text())["nodes"]) == 39)
        assert wait_for(lambda: len(streamed(rack)) >= 4 * 39)
        time.sleep(1)
        assert len(streamed(rack)) == len(set(streamed(rack))) == 4 * 39  # each once
        assert f"another rackctl (process {first.pid}) keeps the status page" in second.stderr.readline()
        stop(first, signal.SIGKILL)
        log(rack, boot(40, time.time() - 10))
        assert wait_for(lambda: len(json.loads(status.read_text())["nodes"]) == 40)
    finally:
        for child in (first, second):
            child.kill()
            child.communicate()


def test_a_second_hook_is_refused(rack):
    command, told = hook(rack)
    first = follow(rack, "--on-checkin", command)
    try:
        log(rack, boot(1, T0))
        noted = rack / ".rackctl/announced"  # a kill before that is written has the hook told once more
        assert wait_for(lambda: noted.exists() and noted.read_text())
        refused = subprocess.run(
            [RACKCTL, "watch", "--on-checkin", command], cwd=rack, capture_output=True, text=True, timeout=60
        )
        assert refused.returncode == 7
        assert f"process {first.pid}) runs the hook" in refused.stderr and "--on-checkin" in refused.stderr
    finally:
        stop(first, signal.SIGKILL)
    run(rack, "watch", "--once", "--on-checkin", command)  # the kernel freed it
    assert len(told()) == 1


def test_watch_tells_events_as_they_come_and_ends_with_its_reader(rack):
    log(rack, boot(2, T0))
    child = follow(rack)
    assert wait_for((rack / ".rackctl/status/status.json").exists)
    log(rack, [http(time.time() - 1, "10.9.0.7", "/boot/52-54-00-00-00-01.ipxe?mac=52-54-00-00-00-01", 404)])
    line = child.stdout.readline()
    assert "n1" in line and "script" in line and "FAILED: status" in line  # not what happened before it began
    child.stdout.close()
    log(rack, boot(3, time.time() - 12))
    try:
        assert wait_for(lambda: child.poll() is not None)
    finally:
        child.kill()
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()


def test_a_timeline_is_followed_live(rack):
    child = subprocess.Popen([RACKCTL, "timeline", "n1", "--watch"], cwd=rack, text=True, stdout=subprocess.PIPE)
    rows = boot(1, time.time() - 12)
    log(rack, rows[:2])
    try:
        said = Said(child)
        assert "checkin" not in said.until("kernel")
        log(rack, rows[2:])
        said.until("checkin")
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(60)
    assert child.returncode == 130


def test_a_timeline_shows_a_bar_per_stage_the_boots_before_and_the_usual(rack):
    mac = "52-54-00-00-00-01"
    for n in range(4):
        slow = 20 if n == 3 else 0  # the last one's initrd
        rows = boot(1, T0 + 400 * n, "n1")
        rows[2] |= {"end": rows[2]["end"] + slow, "dur": 1.0 + slow, "sent": 4 << 20, "len": str(4 << 20)}
        rows[3]["end"] += slow
        log(rack, [{"t": T0 + 400 * n - 2, "line": "dnsmasq-tftp: sent /srv/x/undionly.kpxe to 10.9.0.1"}], "tftp")
        log(rack, rows)
    said = run(rack, "timeline", "n1")
    bars = {line.split()[0]: line for line in said.splitlines() if "#" in line}
    assert list(bars) == ["loader", "script", "kernel", "initrd", "checkin"]
    assert "21.0 s" in bars["initrd"] and "4.0 MiB" in bars["initrd"]
    assert bars["initrd"].count("#") > 2 * bars["checkin"].count("#") > bars["script"].count("#") > 0
    assert bars["initrd"].index("#") < bars["checkin"].index("#")  # side by side, not one below the other
    assert "initrd took 21.0 s, usually 1.0 s" in said and "(3 boots)" in said
    assert said.partition("earlier boots:")[2].count("  done") == 3
    assert "usually" not in run(rack, "timeline", mac, "--boot", "2")
    found = json.loads(run(rack, "timeline", "n1", "--json"))
    assert [len(found["earlier"]), found["usual"]["boots"], found["stages"][3]["nbytes"]] == [3, 3, 4 << 20]
    assert found["compared"][0] == "initrd took 21.0 s, usually 1.0 s"


def test_all_that_checked_in_are_adopted(rack):
    log(rack, [row for n in range(1, 6) for row in boot(n, T0 + 20 * n, up=n != 3)])
    before = (rack / "rack.yml").read_text()
    out = run(rack, "nodes", "adopt", "--all", "--pattern", "m{n:02}")
    assert "adopted 52:54:00:00:00:02 as m01" in out and "rackctl up serves them" in out
    after = (rack / "rack.yml").read_text()
    assert after.startswith(before) and after.count("mac:") == 4 and "00:03" not in after
    assert "no unknown machine" in run(rack, "nodes", "adopt", "--all")
    for words in (["../../x"], ["52:54:00:00:00:01"], ["52:54:00:00:00:09", "--name", "../x"], [],
                  ["52:54:00:00:00:09", "--all"], ["--all", "--name", "m09"], ["00:00:00:00:00:00"],
                  ["52:54:00:00:00:09", "--name", "m01"]):  # fmt: skip
        run(rack, "nodes", "adopt", *words, want=2)
    assert (rack / "rack.yml").read_text() == after
    assert "52:54:00:00:00:02" in run(rack, "nodes") and os.listdir(rack / ".rackctl/inventory") == []
