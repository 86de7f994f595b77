"""Each kind of bad input gives one clear message, its documented exit code and no traceback."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_github import GitHub, release
from real_cli import assert_refused, planted, run_cli

FAKES = Path(__file__).parent.parent / "fakes" / "engine"
GOOD = "server: {address: 127.0.69.1}\n"
NODE = "nodes:\n  n1: {mac: '52:54:00:12:34:56'"
# Root may read and write everything. Without capabilities, root is the owner of its files and nothing more.
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.fixture
def rack(tmp_path: Path) -> Path:
    folder = tmp_path / "rack"
    folder.mkdir()
    (folder / "rack.yml").write_text(GOOD)
    return folder


def fake(engine: str, **more: str) -> dict[str, str]:
    return {"PATH": f"{FAKES}:{os.environ['PATH']}", "FAKE_ENGINE": engine, **more}


@pytest.mark.parametrize("command", ["up", "status", "nodes", "lint", "build-ipxe", "fetch", "down"])
def test_no_rack_yml(tmp_path: Path, command: str) -> None:
    done = run_cli(command, "--rack", tmp_path)
    if command == "down" and done.returncode == 0:
        return  # there is nothing to stop
    assert_refused(done, 2, str(tmp_path), "there is no rack.yml here", "rackctl init")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("server: {address: 10.0.0.1\nos: [\n", ":2:3", "YAML: "),
        ("server:\n  address: 10.0.0.1\n foo: bar\n", ":3:2", "YAML: "),
        ("server: {address: 10.0.0.1}\n\tnodes: {}\n", ":2:1", "no tabs"),
        ("server: {address: 10.0.0.1}\nipxe: a\x07b\n", ":2:8", "may not stand"),
        (GOOD + GOOD, ":2:1", "duplicate key"),
        ("sever: {address: 10.0.0.1}\n", ":1:1", "did you mean 'server'?"),
        ("server: {adress: 10.0.0.1}\n", ":1:10", "did you mean 'address'?"),
        (GOOD + "os: {nmae: discovery}\n", ":2:6", "did you mean 'name'?"),
        (GOOD + "mac: {lable: x}\n", ":2:7", "did you mean 'label'?"),
        (GOOD + "dhcp: {moed: proxy}\n", ":2:8", "did you mean 'mode'?"),
        (GOOD + NODE + ", adress: 10.0.0.9}\n", ":3:34", "did you mean 'address'?"),
        (GOOD + NODE + ", os: {versoin: x}}\n", ":3:39", "did you mean 'version'?"),
        (GOOD + "nodes:\n  n1: {mac: '52:54:00:12:34'}\n", ":3:8", "not a MAC"),
        (GOOD + "nodes:\n  n1: {mac: 525400123456}\n", ":3:8", "put it in quotes"),
        (GOOD + NODE + "}\n  n2: {mac: 52-54-00-12-34-56}\n", ":", "same MAC"),
        ("server: {address: 10.0.0.300}\n", ":1:10", "not an IPv4 address"),
        ("server: {address: 10.0.0.1, http_port: true}\n", ":1:29", "whole number"),
        ("server: {address: 10.0.0.1, http_port: 99999}\n", ":1:29", "65535"),
        (GOOD + "os: {name: discovry}\n", ":2:1", "did you mean 'discovery'?"),
        (GOOD + "nodes: [n1]\n", ":2:1", "must be a map"),
        ("", "", "not a map"),
        (
            "a: &a [1, 1]\n"
            + "".join(f"b{n}: &b{n} [{'*a, ' * 9 if n < 1 else f'*b{n - 1}, ' * 9}]\n" for n in range(9)),
            "",
            "aliases",
        ),
    ],
)
def test_a_fault_in_rack_yml(rack: Path, text: str, where: str, says: str) -> None:
    (rack / "rack.yml").write_text(text)
    assert_refused(run_cli("lint", cwd=rack), 2, f"{rack}/rack.yml{where}", says)


def test_rack_yml_is_not_a_text_to_read(rack: Path) -> None:
    file = rack / "rack.yml"
    file.write_text(GOOD + "# Zürich\n", encoding="latin-1")
    assert_refused(run_cli("lint", cwd=rack), 2, str(file), "UTF-8")
    file.write_text(GOOD, encoding="utf-16")
    assert_refused(run_cli("lint", cwd=rack), 2, str(file), "UTF-8")
    os.truncate(file, 100 << 20)
    assert_refused(run_cli("lint", cwd=rack), 2, str(file), "100.0 MiB")
    file.unlink()
    file.mkdir()
    assert_refused(run_cli("lint", cwd=rack), 2, str(file), "a folder")
    file.rmdir()
    os.mkfifo(file)
    assert_refused(run_cli("lint", cwd=rack), 2, str(file), "no file")


def test_the_file_is_named_in_place_of_its_folder(rack: Path) -> None:
    done = run_cli("lint", "--rack", rack / "rack.yml")
    assert_refused(done, 2, f"{rack}/rack.yml", "is a file", f"--rack {rack}")


def test_a_byte_order_mark_and_an_empty_section_are_no_faults(rack: Path) -> None:
    (rack / "rack.yml").write_text(GOOD + "nodes:\nssh_authorized_keys:\n", encoding="utf-8-sig")
    done = run_cli("lint", cwd=rack)
    assert done.returncode == 0, done.stderr


def test_rack_yml_that_may_not_be_read(rack: Path) -> None:
    (rack / "rack.yml").chmod(0)
    done = run_cli(program=[*POWERLESS, *planted("import sys; sys.argv[1:] = ['lint']")], cwd=rack)
    assert_refused(done, 2, str(rack / "rack.yml"), "Permission denied")


@pytest.mark.parametrize("address", ["192.0.2.77", "0.0.0.0"])
def test_a_server_address_of_another_machine(rack: Path, address: str) -> None:
    (rack / "rack.yml").write_text(f"server: {{address: {address}}}\n")
    assert_refused(
        run_cli("up", cwd=rack, env=fake("good")), 2, f"rack.yml:1: server.address {address}", "not an address", "ip -4"
    )
    new = rack / "new"
    assert_refused(run_cli("init", new, "--server", address), 2, "not an address of this machine")
    assert not new.exists()


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
@pytest.mark.parametrize("command", ["up", "status"])
def test_no_engine_answers(rack: Path, host: str, command: str) -> None:
    done = run_cli(command, cwd=rack, env={"DOCKER_HOST": host})
    assert_refused(done, 3, host, "does not answer", "install Docker")
    assert not (rack / ".rackctl" / "served").exists()


@pytest.mark.parametrize("words", [["build-ipxe"], ["fetch", "discovery"]])
def test_a_build_that_reaches_no_engine(rack: Path, words: list[str]) -> None:
    (rack / "rack.yml").write_text(GOOD + "ipxe: prebuilt\n")
    env = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "XDG_CACHE_HOME": str(rack)}
    assert_refused(run_cli(*words, cwd=rack, env=env), 3, "does not answer", "install Docker")


def test_init_names_the_next_command_as_a_shell_takes_it(tmp_path: Path) -> None:
    done = run_cli("init", tmp_path / "my rack", "--server", "127.0.0.1")
    assert f"rackctl up --rack '{tmp_path}/my rack'" in done.stdout


def test_no_docker_command(rack: Path) -> None:
    # `status` asks the engine itself, without the docker command: with neither, the engine is what it misses.
    assert_refused(run_cli("up", cwd=rack, env={"PATH": "/nowhere"}), 3, "docker is not installed", "install Docker")
    no_engine = {"PATH": "/nowhere", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    assert_refused(run_cli("status", cwd=rack, env=no_engine), 3, "does not answer", "install Docker")


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("desktop", ("Docker Desktop", "in a Linux machine")),
        ("rootless", ("rootless", "docker context use default")),
        ("old", ("20.10.24+dfsg1 is older than 23", "install Docker")),
        ("bare", ("no compose v2", "install Docker")),
        ("podman", ("not Docker's", "install Docker")),
        ("garbled", ("no JSON", "install Docker")),
        ("denied", ("may not speak with", "usermod -aG docker")),
    ],
)
def test_an_engine_that_cannot_run_a_rack(rack: Path, engine: str, says: tuple[str, ...]) -> None:
    assert_refused(run_cli("up", cwd=rack, env=fake(engine)), 3, *says)
    assert not (rack / ".rackctl" / "served").exists()


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with SO_REUSEADDR"])
@pytest.mark.parametrize(
    ("kind", "port", "where", "remedy"),
    [
        (socket.SOCK_DGRAM, 69, "69/udp", "stop that server"),
        (socket.SOCK_STREAM, 83, "83/tcp", "another server.http_port"),
    ],
)
def test_a_port_in_use_names_its_holder(
    rack: Path, kind: socket.SocketKind, port: int, where: str, remedy: str, shared: bool
) -> None:
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
        try:
            holder.bind(("127.0.69.1", port))
        except PermissionError:
            pytest.skip(f"only root may open port {port} here")
        if kind == socket.SOCK_STREAM:
            holder.listen()
        done = run_cli("up", cwd=rack, env=fake("good"))
    assert_refused(done, 7, f"port {where} of 127.0.69.1", f"(pid {os.getpid()})", remedy)
    assert not (rack / ".rackctl").exists()


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as wrong:
        pytest.skip(f"a small disk needs root and the right to mount: {wrong}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    with open(folder / "filler", "wb", buffering=0) as handle:
        try:
            while handle.write(bytes(4096)):
                pass
        except OSError:
            return folder / "filler"


def test_init_onto_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        filler = fill(disk)
        assert_refused(run_cli("init", disk, "--server", "127.0.0.1"), 7, "the disk is full", "free some space")
        assert [one.name for one in disk.iterdir()] == ["filler"]
        filler.unlink()
        assert run_cli("init", disk, "--server", "127.0.0.1").returncode == 0


def offer_rancheros(hub: GitHub, rack: Path, cache: Path) -> dict[str, str]:
    hub.releases += [{"tag_name": "v1.5.8"}]
    release(hub, "v1.5.8")
    (rack / "rack.yml").write_text(GOOD + "os: {name: rancheros, version: v1.5.8}\nunknown: boot\n")
    urls = {"RACKCTL_GITHUB_URL": hub.url + "/dl/", "RACKCTL_GITHUB_API": hub.url}
    return {**urls, "XDG_CACHE_HOME": str(cache), "NO_PROXY": "127.0.0.1"}


def stored(cache: Path) -> list[Path]:
    return list((cache / "rackctl" / "store" / "sha256").glob("*"))


def test_fetch_into_a_full_store(tmp_path: Path, rack: Path, hub: GitHub) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        env = offer_rancheros(hub, rack, disk)
        assert_refused(run_cli("fetch", cwd=rack, env=env), 7, str(disk), "are needed", "free some space")
        fill(disk)
        assert_refused(run_cli("fetch", cwd=rack, env=env), 7, str(disk), "free some space")
        assert stored(disk) == []
    assert not (rack / "rack.lock").exists()
    with small_disk(tmp_path / "inodes", "size=1m,nr_inodes=2") as disk:
        env["XDG_CACHE_HOME"] = str(disk)
        assert_refused(run_cli("fetch", cwd=rack, env=env), 7, str(disk), "the disk is full")


def test_a_download_that_is_cut_again_and_again(tmp_path: Path, rack: Path, hub: GitHub) -> None:
    env = offer_rancheros(hub, rack, tmp_path)
    hub.cuts, hub.ranges = 99, False
    hasty = "import sys\nfrom rackctl.adapters.fetch import transfer\ntransfer.PAUSE = 0.001\nsys.argv[1:] = ['fetch']"
    done = run_cli(program=planted(hasty), cwd=rack, env=env)
    assert_refused(done, 4, hub.url, "gave up after 5 tries", "received", "run again")
    assert not any(one.stat().st_size in (700_001, 900_003) for one in stored(tmp_path))
    assert not (rack / "rack.lock").exists()
    hub.cuts, hub.ranges = 0, True
    assert run_cli("fetch", cwd=rack, env=env).returncode == 0


def test_a_home_that_may_not_be_written(tmp_path: Path, rack: Path, hub: GitHub) -> None:
    env = {**offer_rancheros(hub, rack, tmp_path), "XDG_CACHE_HOME": "", "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir(0o500)
    powerless = [*POWERLESS, *planted("import sys; sys.argv[1:] = ['fetch']")]
    done = run_cli(program=powerless, cwd=rack, env=env)
    assert_refused(done, 1, f"{tmp_path}/home/.cache", "not allowed", "XDG_CACHE_HOME")
    assert_refused(
        run_cli("fetch", cwd=rack, env={**env, "HOME": "/dev/null"}), 1, "/dev/null/.cache", "cannot be used"
    )
    assert_refused(run_cli("fetch", cwd=rack, env={**env, "HOME": "here"}), 2, "here/.cache", "HOME")


def test_a_rack_folder_that_may_not_be_written(rack: Path) -> None:
    rack.chmod(0o500)
    for command, code in (("fetch", 1), ("lint", 0), ("nodes", 0)):
        done = run_cli(program=[*POWERLESS, *planted(f"import sys; sys.argv[1:] = ['{command}']")], cwd=rack)
        if code:
            assert_refused(done, code, str(rack / ".rackctl"), "not allowed", "writable")
        else:
            assert done.returncode == 0, done.stderr
    done = run_cli(
        program=[*POWERLESS, *planted(f"import sys; sys.argv[1:] = ['init', '{rack}/new', '--server', '127.0.0.1']")]
    )
    assert_refused(done, 1, str(rack / "new"), "not allowed")


BUG = "from rackctl.adapters.folder import RackFolder\nRackFolder.read_rack = lambda self: [][1]\n"


@pytest.mark.parametrize("kept", [True, False], ids=["in .rackctl", "in the temporary folder"])
def test_a_fault_of_rackctl_itself_goes_into_a_report(rack: Path, kept: bool) -> None:
    place = rack / (".rackctl" if kept else "tmp")
    place.mkdir()
    program = planted(BUG + f"import sys; sys.argv[1:] = ['nodes', '--rack', '{rack}']")
    done = run_cli(program=program, env={"TMPDIR": str(place)})
    assert_refused(done, 70, "unexpected IndexError: list index out of range", str(place), "report it")
    [report] = place.iterdir()
    assert report.stat().st_mode & 0o777 == 0o600
    assert "Traceback (most recent call last)" in report.read_text() and "rackctl nodes" in report.read_text()


def test_output_that_cannot_be_written(rack: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*planted("import sys; sys.argv[1:] = ['nodes']")], cwd=rack, stdout=full, stderr=subprocess.PIPE, text=True
        )
    done.stdout = ""
    assert_refused(done, 7, "the disk is full")


@pytest.mark.parametrize(
    ("words", "says", "helps"),
    [
        (["--nonsense"], "No such option: --nonsense", "rackctl --help"),
        (["frobnicate"], "frobnicate", "rackctl --help"),
        (["up", "--nonsense"], "No such option: --nonsense", "rackctl up --help"),
        (["timeline"], "node", "rackctl timeline --help"),
        (["lab", "boot", "--firmware", "coreboot"], "coreboot", "rackctl lab boot --help"),
        (["lab", "boot", "--memory", "much"], "--memory", "rackctl lab boot --help"),
    ],
)
def test_a_wrong_word_on_the_command_line(words: list[str], says: str, helps: str) -> None:
    done = run_cli(*words)
    assert_refused(done, 2, says)
    assert done.stderr.endswith(f"-> {helps}\n")


def test_without_words_the_help_is_shown() -> None:
    done = run_cli()
    assert done.returncode == 2 and "Usage: rackctl" in done.stdout + done.stderr
