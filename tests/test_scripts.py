"""The set-up scripts on machines that are not at hand: hermetic PATHs with a few named fakes in them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from waiting import wait_for

SCRIPTS = Path(__file__).parent.parent / "scripts"
TOOLS = ("bash", "env", "cat", "dirname", "grep", "head", "mktemp", "rm", "sed", "seq", "sort", "timeout", "touch")

DOCKER = """\
echo "docker $*" >>"$CALLS"
case "$1 $2" in
    "info "*) ;;
    "ps -aq") [ "$4" = label=org.rackctl.role ] && printf "$CONTAINERS" ;;
    "images -q") [ "$4" = label=org.rackctl.role ] && printf "$IMAGES" ;;
    "network ls") ;;
    "version --format") echo "${ENGINE_VERSION:-26.1.5}" ;;
    "compose version") echo 2.26.1 ;;
esac
exit 0
"""
# An ip that knows two bridges of labs, one of Docker's, one of somebody else with a name that begins alike.
IP = """\
echo "ip $*" >>"$CALLS"
[ "$1" = -o ] && printf '%s\\n' '1: docker0: <>' '2: rackctl-lab: <>' '3: rackctl0a620001: <>' '4: rackctl-mine: <>'
exit 0
"""


# A rackctl whose virtual machine never comes up.
RACKCTL = """\
echo "rackctl $*" >>"$CALLS"
case "$1 $2 ${3:-}" in
    "lab up --nodes") touch demo/rack.yml ;;
    "lab boot "*) trap 'echo interrupted >>"$CALLS"; exit 130' INT; touch booting; while :; do sleep 1; done ;;
esac
"""


class Machine:
    """A machine with no programs but TOOLS and the fakes that are put on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.calls = folder, folder / "bin", folder / "calls"
        self.bin.mkdir()
        self.calls.touch()
        (folder / "scripts").mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is missing"))
        self.put("sleep", "exit 0")

    def put(self, name: str, body: str) -> None:
        (self.bin / name).write_text(f"#!/usr/bin/env bash\n{body}")
        (self.bin / name).chmod(0o755)

    def os(self, text: str) -> str:
        (self.folder / "os-release").write_text(text)
        return str(self.folder / "os-release")

    def run(self, script: str, words: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
        # A copy, so that "the checkout" is this folder.
        copy = shutil.copy(SCRIPTS / script, self.folder / "scripts" / Path(script).name)
        env = {"PATH": str(self.bin), "CALLS": str(self.calls), "CONTAINERS": "", "IMAGES": "", **env}
        return subprocess.run(
            [str(self.bin / "bash"), copy, *words],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def called(self, beginning: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.startswith(beginning)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_clean_removes_what_is_labelled_and_the_labs_bridges(machine: Machine) -> None:
    machine.put("docker", DOCKER)
    machine.put("ip", IP)
    (machine.folder / "demo").mkdir()
    (machine.folder / "mine").mkdir()
    done = machine.run("clean.sh", CONTAINERS="c1\\nc2\\n", IMAGES="i2\\ni1\\ni2\\n")
    assert done.returncode == 0, done.stderr
    assert machine.called("docker rm") == ["docker rm -f c1 c2", "docker rmi -f i1 i2"]
    assert machine.called("ip link del") == ["ip link del rackctl-lab", "ip link del rackctl0a620001"]
    assert not (machine.folder / "demo").exists() and (machine.folder / "mine").exists()
    assert "removing 2 containers" in done.stdout and "removing 2 images" in done.stdout


@pytest.mark.parametrize("engine", [True, False], ids=["an idle engine", "no docker at all"])
def test_clean_with_nothing_to_remove(machine: Machine, engine: bool) -> None:
    if engine:
        machine.put("docker", DOCKER)
    for _ in range(2):
        done = machine.run("clean.sh")
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("clean: done\n") and not done.stderr
    assert not machine.called("docker r") and not machine.called("docker network rm")


def test_what_killed_tests_left_is_removed_and_racks_of_users_stay(machine: Machine) -> None:
    machine.put(
        "docker",
        """\
echo "docker $*" >>"$CALLS"
case "$1 $2" in
    "ps -a") printf '%s\\n' 'a1 tftp rackctl-1 /tmp/pytest-of-root/pytest-4/popen-gw0/rack0/.rackctl' \\
        'a2 tftp rackctl-2 /srv/rack/.rackctl' 'a3 peers  ' 'a4 lab  ' 'a5 microhttp rackctl-3 /home/me/rack' ;;
    "network ls") echo n1 ;;
esac
""",
    )
    done = machine.run("test-leftovers.sh")
    assert done.returncode == 0, done.stderr
    assert machine.called("docker rm") == ["docker rm -f a1 a3"]
    assert machine.called("docker network") == [
        "docker network ls -q --filter label=com.docker.compose.project=rackctl-1",
        "docker network rm n1",
    ]
    assert done.stdout == "test: removing 2 containers that killed tests left\n"


def test_an_engine_that_answers_is_used_as_it_is(machine: Machine) -> None:
    machine.put("docker", DOCKER)
    done = machine.run("engine.sh")
    assert (done.returncode, done.stdout) == (0, "engine: Docker 26.1.5, compose 2.26.1, buildx ready\n"), done.stderr


def assert_dies(done: subprocess.CompletedProcess[str], *says: str) -> None:
    assert done.returncode == 3, done.stdout + done.stderr
    for part in says:
        assert part in done.stderr


def test_without_an_engine_and_without_root_the_way_out_is_named(machine: Machine) -> None:
    machine.put("id", "echo 1000")
    machine.put("dockerd", 'echo "dockerd $*" >>"$CALLS"')
    assert_dies(machine.run("engine.sh"), "not root", "usermod -aG docker", "install it")
    assert not machine.calls.read_text()


def test_a_system_that_is_not_debian_is_told_what_to_install(machine: Machine) -> None:
    machine.put("id", "echo 0")
    done = machine.run("engine.sh", RACKCTL_OS_RELEASE=machine.os('ID=fedora\nPRETTY_NAME="Fedora Linux 43"\n'))
    assert_dies(done, "Fedora Linux 43", "Docker >= 23 with compose v2 and buildx", "https://")
    assert_dies(machine.run("engine.sh", RACKCTL_OS_RELEASE="/nowhere"), "this system")


def test_an_engine_of_somebody_else_that_is_too_old_is_left_alone(machine: Machine) -> None:
    machine.put("id", "echo 0")
    machine.put("docker", DOCKER)
    machine.put("dpkg", "exit 1")
    done = machine.run("engine.sh", ENGINE_VERSION="20.10.24", RACKCTL_OS_RELEASE=machine.os("ID=debian\n"))
    assert_dies(done, "older than 23", "Update it")


APT = """\
echo "apt-get $* $DEBIAN_FRONTEND" >>"$CALLS"
read -r line && echo "a prompt would be answered: $line" >>"$CALLS"
for word; do
    if [ "$word" = install ]; then [ -e "$ENGINE" ] && cp "$ENGINE" "$BIN/docker"; fi
done
exit 0
"""


def test_on_ubuntu_as_root_an_engine_is_installed_without_a_prompt(machine: Machine) -> None:
    machine.put("id", "echo 0")
    machine.put("apt-get", APT)
    (machine.bin / "cp").symlink_to(shutil.which("cp") or "")
    machine.put("engine", DOCKER)
    env = {
        "ENGINE": str(machine.bin / "engine"),
        "BIN": str(machine.bin),
        "RACKCTL_OS_RELEASE": machine.os("ID=ubuntu\n"),
    }
    done = machine.run("engine.sh", **env)
    assert done.returncode == 0, done.stderr
    update, install = machine.called("apt-get")
    assert "update noninteractive" in update and "docker-compose-v2" in install and install.endswith(" noninteractive")
    assert "prompt" not in machine.calls.read_text()
    assert machine.run("engine.sh", **env).returncode == 0 and len(machine.called("apt-get")) == 2, "safe to run twice"


def test_python_without_venv_is_completed_as_root_and_named_otherwise(machine: Machine) -> None:
    machine.put("python3", '[ -e "$BIN/docker" ]')  # works once the package is there
    machine.put("id", "echo 1000")
    env = {"ENGINE": str(machine.bin / "engine"), "BIN": str(machine.bin)}
    assert_dies(machine.run("python.sh", **env), "python3 >= 3.11", "apt-get install python3-venv")
    machine.put("id", "echo 0")
    machine.put("apt-get", APT)
    assert_dies(machine.run("python.sh", **env), "older than 3.11")
    (machine.bin / "cp").symlink_to(shutil.which("cp") or "")
    machine.put("engine", "exit 0")
    done = machine.run("python.sh", **env)
    assert done.returncode == 0, done.stderr
    assert any("python3-venv" in line and line.endswith(" noninteractive") for line in machine.called("apt-get"))
    calls = len(machine.called("apt-get"))
    assert machine.run("python.sh", **env).returncode == 0 and len(machine.called("apt-get")) == calls


def test_an_install_that_brings_no_engine_ends_with_a_message(machine: Machine) -> None:
    machine.put("id", "echo 0")
    machine.put("apt-get", APT)
    done = machine.run("engine.sh", ENGINE="/nowhere", RACKCTL_OS_RELEASE=machine.os("ID=ubuntu\n"))
    assert_dies(done, "the engine does not answer", "docker version")


NO_IMAGE = """\
echo "docker $*" >>"$CALLS"
case "$1" in image|pull) exit 1 ;; esac
exit 0
"""


def test_without_registry_root_and_mmdebstrap_the_way_out_is_named(machine: Machine) -> None:
    machine.put("docker", NO_IMAGE)
    machine.put("id", "echo 1000")
    assert_dies(machine.run("base-image.sh"), "mmdebstrap", "docker load")


def test_a_base_image_is_used_as_it_is_else_pulled(machine: Machine) -> None:
    machine.put("docker", DOCKER)
    assert machine.run("base-image.sh").stdout == "base image: debian:trixie-slim is here\n"
    assert not machine.called("docker pull")
    machine.put("docker", DOCKER.replace("exit 0", '[ "$1" != image ]'))
    done = machine.run("base-image.sh")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "base image: pulled debian:trixie-slim")
    assert not machine.called("docker import")


@pytest.mark.skipif(not os.access("/dev/kvm", os.W_OK), reason="no /dev/kvm to write to here")
@pytest.mark.parametrize(
    ("said", "works"), [("iPXE (http://ipxe.org) net0: 52:54:00", True), ("KVM internal error", False)]
)
def test_kvm_is_used_only_if_a_probe_boot_comes_to_its_network(machine: Machine, said: str, works: bool) -> None:
    machine.put("qemu-system-x86_64", f'echo "qemu $*" >>"$CALLS"; echo "{said}"')
    done = machine.run("../compose/lab/lab.sh", words=("probe",))
    assert (done.returncode == 0) == works, done.stderr
    assert "-accel kvm" in machine.called("qemu")[0]


def test_a_base_image_that_was_cut_is_never_imported(machine: Machine) -> None:
    machine.put("docker", NO_IMAGE)
    machine.put("id", "echo 0")
    machine.put("mmdebstrap", 'touch "$4"; exit 1')
    assert machine.run("base-image.sh", TMPDIR=str(machine.folder)).returncode == 1
    assert not machine.called("docker import")
    machine.put("mmdebstrap", 'echo "mmdebstrap $*" >>"$CALLS"; touch "$4"')
    done = machine.run("base-image.sh", TMPDIR=str(machine.folder))
    assert done.returncode == 0, done.stderr
    assert len(machine.called("docker import")) == 1 and "trixie" in machine.called("mmdebstrap")[0]
    assert not list(machine.folder.glob("tmp.*"))


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_a_demo_that_is_stopped_says_so_and_takes_away_what_it_made(machine: Machine, name: str, code: int) -> None:
    """At once, though its rackctl would go on for ever; a second Ctrl-C does not break that off."""
    machine.put("rackctl", RACKCTL)
    (machine.bin / "sleep").unlink()
    (machine.bin / "sleep").symlink_to(shutil.which("sleep") or pytest.fail("sleep is missing"))
    (machine.folder / "demo").mkdir()
    copy = shutil.copy(SCRIPTS / "demo.sh", machine.folder / "scripts")
    argv, env = [str(machine.bin / "bash"), copy], {"PATH": str(machine.bin), "CALLS": str(machine.calls)}
    with subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert wait_for((machine.folder / "booting").exists)
        child.send_signal(getattr(signal, f"SIG{name}"))
        assert wait_for(lambda: "interrupted" in machine.calls.read_text())
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=60)
    assert (child.returncode, f"demo: stopped by SIG{name}; its machines, services" in told) == (code, True), told
    after = machine.calls.read_text().partition("interrupted\n")[2]
    assert after.splitlines() == ["rackctl down --rack demo", "rackctl lab down --rack demo"]
