"""kill -9 of every container and of `rackctl watch` while fifty machines boot through them: no timeline is another.

A machine whose request is broken off asks again. What a service had not yet written to its log when it was killed, the
line of a request that ended a millisecond before, nobody can keep: so the machines stand still when a service is
killed, in the middle of what they load.
"""

import itertools
import json
import random
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import netlab
import pytest
from waiting import wait_for

from rackctl.core.statustree import read_code
from services import docker, make_work, running
from services.machines import INITRD, KERNEL, LOADER

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.serial]
RACKCTL = Path(sys.executable).with_name("rackctl")
BOOTS = 50
LOGS = ["LOG_BYTES=20000", "CHECK_SECONDS=0.5"]


def make_rack(folder):
    work = make_work(folder / ".rackctl")
    (folder / "rack.yml").write_text("server: {address: 10.9.200.1}\nstatus: true\n")
    current = work / "served/current"
    known = {"names": {}, "unknown": "discover", "port": 83, "server": "10.9.200.1"}
    files = {
        "dnsmasq.conf": b"tftp-single-port\n", "status/known.json": json.dumps(known).encode(),
        "tftp/undionly.kpxe": bytes(LOADER), "http/boot/default.ipxe": b"#!ipxe\n",
        "http/os/discovery/b/vmlinuz": bytes(KERNEL), "http/os/discovery/b/initrd": bytes(INITRD),
    }  # fmt: skip
    files |= {f"http/config/52-54-00-00-99-{n:02x}": b"#cloud-config\n" for n in range(BOOTS)}
    files |= {f"status/code/rackctl/{name}": content for name, content in read_code().items()}
    for name, content in files.items():
        (current / name).parent.mkdir(parents=True, exist_ok=True)
        (current / name).write_bytes(content)
    (folder / "hook.sh").write_text('#!/bin/sh\ncat >>"$1"\necho >>"$1"\n')
    (folder / "hook.sh").chmod(0o755)
    return work


class Watch:
    """`rackctl watch` with a hook, started again whenever it was killed."""

    def __init__(self, folder):
        self.folder, self.told = folder, folder / "told"
        self.start()

    def start(self):
        words = [RACKCTL, "watch", "--json", "--on-checkin", f"{self.folder}/hook.sh {self.told}"]
        self.child = subprocess.Popen(words, cwd=self.folder, stdout=subprocess.DEVNULL)

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.start()

    def machines(self):
        """Those that the hook was told of; a line that a kill tore is told again."""
        found = Counter()
        for line in self.told.read_text().splitlines() if self.told.exists() else ():
            try:
                found[json.loads(line)["mac"]] += 1
            except ValueError:
                continue
        return found


@contextmanager
def network():
    name = f"rackctl-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "--label", "org.rackctl.role=test", name)
    try:
        yield name
    finally:
        docker("network", "rm", name, check=False)


@contextmanager
def machines(net, tftp, http):
    """The machines as a process: its stdin holds them, its lines tell what broke off."""
    words = ["docker", "run", "--rm", "-i", "--network", net, "--cap-add", "NET_ADMIN", "--label",
             "org.rackctl.role=test", "-v", f"{Path(__file__).parent}:/machines:ro", netlab.build(),
             "python3", "/machines/machines.py", tftp, http, str(BOOTS)]  # fmt: skip
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def shown(status):
    """All that a timeline tells but the times."""
    return {
        node["mac"]: (
            node["verdict"], [(one["name"], one["bytes"], one["ok"]) for one in node.get("stages", ())],
            node["inventory"], node.get("hostname"), node.get("os"), node.get("missing"), len(node.get("history", ())),
            [one["code"] for one in node.get("problems", ())],
        )
        for node in status["nodes"]
    }  # fmt: skip


def wait_for_quiet(logs):
    """Until the lines of what has ended are written: for 0.3 s no log grew."""
    before = None
    while (now := log_sizes(logs)) != before:
        before = now
        time.sleep(0.3)


def log_sizes(logs):
    """A log that is renamed at this very moment has None, which is another size than the next one's."""
    found = []
    for name in ("tftp.jsonl", "http.jsonl"):
        try:
            found.append((logs / name).stat().st_size)
        except FileNotFoundError:
            found.append(None)
    return found


def boot_all(folder, kills):
    """What is known in the end, by the container and by a program that reads anew; how often each was killed."""
    work, killed, said, chance = make_rack(folder), Counter(), [], random.Random(7)
    with ExitStack() as stack:
        net = stack.enter_context(network())
        names = ("tftp", "microhttp", "status")
        services = {name: stack.enter_context(running(name, work, LOGS, network=net)) for name in names}
        assert wait_for(services["microhttp"].up), docker("logs", services["microhttp"].name)
        services["watch"] = Watch(folder)
        stack.callback(lambda: services["watch"].child.kill())
        child = stack.enter_context(machines(net, services["tftp"].name, services["microhttp"].name))
        threading.Thread(target=lambda: said.extend(child.stdout), daemon=True).start()

        def say(word):
            child.stdin.write(word + "\n")
            child.stdin.flush()

        turns = itertools.cycle(chance.sample(sorted(services), len(services)))
        end = time.monotonic() + 240
        while child.poll() is None and time.monotonic() < end:
            time.sleep(chance.uniform(0.05, 0.3))
            if not kills or child.poll() is not None:
                continue
            name = next(turns)
            if name in ("tftp", "microhttp"):
                held = said.count("held\n")
                say("hold")
                assert wait_for(lambda held=held: said.count("held\n") > held or child.poll() is not None)
                wait_for_quiet(work / "logs")
            services[name].kill()
            killed[name] += 1
            if name in ("tftp", "microhttp") and child.poll() is None:
                say("go")
        assert child.wait(10) == 0 and said[-1] == "all done\n", said[-3:]
        anew = json.loads(
            subprocess.run([RACKCTL, "nodes", "--json"], cwd=folder, capture_output=True, check=True).stdout
        )
        page = work / "status/status.json"
        assert wait_for(lambda: page.exists() and shown(json.loads(page.read_text())) == shown(anew), 30)
        up = {mac for mac, one in shown(anew).items() if one[0] == "done"}
        assert wait_for(lambda: set(services["watch"].machines()) == up, 30)
        return shown(anew), services["watch"].machines(), killed, sum("broken off" in line for line in said)


def test_kills_while_fifty_machines_boot_change_no_timeline(tmp_path):
    wanted, told, _, broken = boot_all(tmp_path / "still", kills=False)
    assert broken == 0 and set(told.values()) == {1}
    assert len(wanted) == BOOTS
    assert Counter(one[0] for one in wanted.values()) == {"done": 43, "running": 7}
    found, again, killed, broken = boot_all(tmp_path / "killed", kills=True)
    assert found == wanted
    assert set(again) == set(told)
    assert set(killed) == {"tftp", "microhttp", "status", "watch"} and min(killed.values()) >= 2, killed
    assert broken > 5, "hardly a request was broken off: what is proven then?"
