"""One service of a rack in a container of its own, on the engine's network, with small logs."""

import json
import subprocess
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager

from rackctl.adapters.imagebuild import build_image

CAPS = {"tftp": ["SETUID", "SETGID", "SETPCAP", "NET_BIND_SERVICE"]}
DIRS = ("logs", "inventory", "state/installed", "status", "served/current/http/boot", "served/current/tftp")


def docker(*words, check=True):
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


class Service:
    """A running container: `ip`, `work` (what compose mounts) and its name."""

    def __init__(self, name, work):
        self.name, self.work = name, work
        settings = json.loads(docker("inspect", name))[0]["NetworkSettings"]
        self.ip = settings["IPAddress"] or next(iter(settings["Networks"].values()))["IPAddress"]

    def ask(self, path, *, method="GET", data=None):
        """Status and body."""
        request = urllib.request.Request(f"http://{self.ip}:8080{path}", data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def up(self):
        """Whether microhttp answers."""
        try:
            return self.ask("/healthz")[0] == 200
        except OSError:
            return False

    def kill(self):
        docker("kill", "-s", "KILL", self.name)
        docker("start", self.name)
        self.__init__(self.name, self.work)


def make_work(folder):
    for name in DIRS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(0o777)
    return folder


def mounts_of(service, work):
    """As in compose.yml.j2."""
    if service == "status":
        read = [f"{work}/{name}:/work/{name}:ro" for name in ("logs", "inventory", "state")]
        return [f"{work}/served:/srv:ro", *read, f"{work}/status:/work/status"]
    mounts = [f"{work}/served:/srv:ro", f"{work}/logs:/logs", f"{work}/inventory:/inventory", f"{work}/state:/state"]
    return [*mounts, f"{work}/status:/status:ro"]


@contextmanager
def running(service, work, env=(), words=(), network="bridge"):
    """Run compose/SERVICE as the compose file does, until the block ends."""
    image = build_image(service, print)
    name = f"rackctl-test-{service}-{uuid.uuid4().hex[:8]}"
    limits = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "128m",
              "--network", network, "--pids-limit", "64", "--tmpfs", "/tmp",
              "--label", "org.rackctl.role=test"]  # fmt: skip
    user = [] if service in CAPS else ["--user", "65534:65534"]
    options = [word for one in CAPS.get(service, []) for word in ("--cap-add", one)]
    options += [word for one in env for word in ("-e", one)] + [
        word for one in mounts_of(service, work) for word in ("-v", one)
    ]
    docker("run", "-d", "--name", name, *limits, *user, *options, image, *words)
    try:
        yield Service(name, work)
    finally:
        docker("rm", "-f", name, check=False)
