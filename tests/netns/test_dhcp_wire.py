"""What is on the wire: every client that an audit plays, against the servers of others, and against hostile ones.

No machine boots here: tests/boot/test_dhcp_boot.py has those. Each server is the real program in a network namespace of
its own; each boot file it names is read from where it says.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peers
import pytest
from dhcpbench import PLAIN, RACK, Bench, from_all, is_clean, names, open_bench
from real_cli import RACKCTL, run_cli

from rackctl import trial
from rackctl.core.dhcp.clients import CLIENTS
from rackctl.core.dhcp.daemon import render_dnsmasq
from rackctl.core.load import parse_rack
from rackctl.dhcp import ask
from rackctl.errors import BusyError, ConfigError, ServeError

pytestmark = pytest.mark.engine

NODE = "52:54:00:67:00:01"
# Answers each question with what the lines of __DATA__ make of it: for each, the options in hex after the cookie.
HOSTILE = r"""
use strict; use warnings; use Socket;
my @say = map { chomp; $_ } <DATA>;
socket(my $s, AF_INET, SOCK_DGRAM, 17) or die; setsockopt($s, SOL_SOCKET, $_, 1) or die for SO_BROADCAST, SO_REUSEADDR;
setsockopt($s, SOL_SOCKET, 25, pack('Z16', 'rack0')) or die $!;
bind($s, pack_sockaddr_in(67, INADDR_ANY)) or die $!;
print "perl: serving\n"; $| = 1; print "\n";
while (defined recv($s, my $q, 4096, 0)) {
    next unless unpack('C', $q) == 1;
    for my $n (0 .. $#say) {
        my $head = pack('C4', 2, 1, 6, 0) . substr($q, 4, 4) . "\0" x 4 . "\0" x 4 . pack('C4', 10, 0, 0, 9) . "\0" x 8
            . substr($q, 28, 16) . pack('H*', '4302' . 'ff' x 62 . '34010343' . 'fe' x 124 . '63825363');
        send($s, $head . pack('H*', $say[$n]), 0, pack_sockaddr_in(68, INADDR_BROADCAST));
    }
}
__DATA__
"""
SAID = [
    "3500ff",  # no message type
    "350102" + "43c8" + "41",  # a boot file that is cut
    "350102" + "36047f000001" + "4309" + "66696c652e65666900",  # a file that we ourselves would have
    "350102" + "3604f0000001" + "3c09505845436c69656e74",  # a server at an address of no one
    "350102" + "36040a000007" + "340103",  # both fields overloaded with rubbish
    "350102" + "36040a000008" + "".join("2bff" + "09ff" * 127 + "00" for _ in range(5)),  # giant vendor options
    "350102" + "36040a00000a" + "52ff" + "01fe" * 127 + "00",  # a relay's option 82
    "350102" + "36040a00000b" + "0c05" + "1b5d303b78" + "4308" + "1b5b324a2e656669",  # escape sequences
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("wire"), 21) as made:
        yield made


@contextmanager
def link(name: str, *commands: str) -> Iterator[None]:
    """A link of this machine for the length of the block."""
    peers.host(" && ".join((f"ip link add '{name}' type veth peer name dhcppeer0", *commands)))
    try:
        yield
    finally:
        peers.host(f"ip link del '{name}'")


def audits() -> list[str]:
    return peers.docker("ps", "-q", "--filter", "label=org.rackctl.role=audit").split()


@pytest.mark.parametrize("kind", ["dhcpd", "kea", "dnsmasq"])
def test_a_proxy_beside_a_router_names_files_and_gives_no_address(bench: Bench, kind: str) -> None:
    bench.up("proxy")
    with bench.serve(kind, PLAIN[kind]):
        audit = bench.audit(whole=lambda audit: is_clean(audit) and any(a.kind == "4011" for a in audit.answers))
    assert not names(audit)
    ours = [a for a in audit.answers if a.server == bench.master]
    assert {a.kind for a in ours} == {"proxy", "4011"}
    assert not [a for a in ours if a.offered or a.client == "ipxe-rackctl"]
    assert {a.boot_file for a in ours if a.client == "ipxe"} == {trial.loader_for(bench.folder, "bios")}
    assert {a.offered.rpartition(".")[0] for a in audit.answers if a.server == bench.router} == {bench.net}


@pytest.mark.parametrize("kind", ["dhcpd", "kea"])
def test_a_router_with_our_settings_gives_a_node_its_name_and_address(bench: Bench, kind: str) -> None:
    bench.up("router")
    with bench.serve(kind, bench.advice(kind)):
        audit = bench.audit(NODE, whole=from_all(bench.router))
    assert {(a.offered, a.host_name) for a in audit.answers} == {(f"{bench.net}.21", "bios")}


def test_a_proxy_for_the_nodes_alone_leaves_strangers(bench: Bench) -> None:
    text = bench.fill(RACK).replace("MODE", "proxy").replace("discover", "ignore")
    second = parse_rack(text.replace(f"address: {bench.master}", f"address: {bench.other}"))
    conf = render_dnsmasq(second, ("undionly.kpxe", "ipxe.efi"))
    bench.up("router")
    with bench.serve("dnsmasq", conf, bench.other), bench.serve("dnsmasq", PLAIN["dnsmasq"]):
        stranger = bench.audit("52:54:00:67:00:99", whole=from_all(bench.router))
        assert {a.server for a in stranger.answers} == {bench.router}
        node = bench.audit(NODE, whole=from_all(bench.router, bench.other))
        assert {a.server for a in node.answers} == {bench.router, bench.other}


def test_the_server_gives_a_node_its_address_and_name(bench: Bench) -> None:
    bench.up("server")
    with bench.serve("neighbour", ""):
        audit = bench.audit(NODE, wait=5.0, whole=is_clean)
    assert {(a.offered, a.host_name) for a in audit.answers if a.kind == "address"} == {(f"{bench.net}.21", "bios")}
    assert [p.name for p in audit.problems] == []


def test_a_server_refuses_to_start_beside_another_unless_told(bench: Bench) -> None:
    bench.up("router")
    with bench.serve("dnsmasq", PLAIN["dnsmasq"]):
        with pytest.raises(BusyError) as caught:
            bench.up("server")
        assert bench.router in caught.value.message
        assert "other_servers: allow" in caught.value.remedy
        bench.up("server", "\n  other_servers: allow")
        audit = bench.audit(wait=5.0, whole=from_all(bench.router, bench.master))
    assert {"two-servers"} <= names(audit)
    assert {a.server for a in audit.answers if a.client == "bios"} == {bench.router, bench.master}


def test_two_servers_that_disagree_are_both_shown(bench: Bench) -> None:
    bench.up("router")
    one = PLAIN["dnsmasq"] + f"dhcp-boot=grub.efi,,{bench.router}\n"
    with bench.serve("dnsmasq", one), bench.serve("kea", bench.advice("kea"), bench.other):
        done = run_cli("dhcp", "audit", "--json", "--wait", "6", "--rack", bench.folder.path)
    assert done.returncode == 5, done.stderr
    found = json.loads(done.stdout)
    assert {a["server"] for a in found["answers"] if a["client"] == "bios"} == {bench.router, bench.other}
    assert {"two-servers", "two-files", "missing-file"} <= {p["name"] for p in found["problems"]}


def test_two_racks_on_one_network_are_told_apart(bench: Bench) -> None:
    """The proxies of both answer everybody: the audit says who names what."""
    bench.up("proxy")
    second = parse_rack(f"server: {{address: {bench.other}}}\ndhcp: proxy\n")
    conf = render_dnsmasq(second, ("undionly.kpxe", "ipxe.efi", "snponly.efi"))
    with bench.serve("dnsmasq", PLAIN["dnsmasq"]), bench.serve("dnsmasq", conf, bench.other):
        audit = bench.audit(whole=from_all(bench.router, bench.master, bench.other))
    assert {a.server for a in audit.answers if a.kind == "proxy"} == {bench.master, bench.other}
    text = next(p.text for p in audit.problems if p.name == "two-files")
    assert bench.master in text and bench.other in text


def test_nobody_answers(bench: Bench) -> None:
    bench.up("router")
    with bench.serve("neighbour", ""):
        assert names(bench.audit()) == {"no-server"}


def test_a_slow_server_is_named(bench: Bench) -> None:
    bench.up("router")
    clients = {client.key for client in CLIENTS}
    with bench.serve("dnsmasq", PLAIN["dnsmasq"] + "dhcp-reply-delay=5\n"):
        # The audit itself may be held up while it asks, and hear an answer after all.
        assert any("no-server" in names(bench.audit(wait=1.0)) for _ in range(3))
        audit = bench.audit(wait=7.0, whole=lambda audit: {a.client for a in audit.answers} == clients)
    assert "slow-server" in names(audit)
    assert {a.client for a in audit.answers} == clients


@contextmanager
def flood(target: str) -> Iterator[None]:
    """Datagrams to the target as fast as one core sends them, for the length of the block."""
    words = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect((TARGET, 9))\nwhile 1:\n"
    words += "    try:\n        s.send(bytes(1400))\n    except ConnectionRefusedError:\n        pass\n"
    child = subprocess.Popen([sys.executable, "-c", words.replace("TARGET", repr(target))])
    try:
        yield
    finally:
        child.kill()
        child.wait()


def test_a_master_that_is_busy_hears_every_answer(bench: Bench) -> None:
    bench.up("router")
    with bench.serve("dnsmasq", PLAIN["dnsmasq"]), flood(bench.router):
        answers = ask(bench.tftp, bench.network.bridge, NODE, wait=3.0)
    assert [a.client for a in answers] == [client.key for client in CLIENTS]


def test_hostile_answers_are_shown_and_harm_nobody(bench: Bench) -> None:
    bench.up("router")
    with bench.serve("perl", HOSTILE + "\n".join(SAID) + "\n"):
        done = run_cli("dhcp", "audit", "--wait", "6", "--rack", bench.folder.path)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout)
    assert "10.0.0.8 offers" in done.stdout
    assert "127.0.0.1" in done.stdout


def test_an_audit_that_is_killed_leaves_nothing(bench: Bench) -> None:
    bench.up("router")
    before = set(audits())
    with bench.serve("neighbour", ""):
        words = [RACKCTL, "dhcp", "audit", "--wait", "8", "--rack", str(bench.folder.path)]
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not (mine := set(audits()) - before) and time.monotonic() < end:
            time.sleep(0.05)
        child.kill()
        child.wait()
        assert mine
        end = time.monotonic() + 60
        while not set(audits()) <= before and time.monotonic() < end:
            time.sleep(0.2)
    assert set(audits()) <= before


def test_a_link_that_cannot_be_used_is_named(bench: Bench) -> None:
    bench.up("router")
    with link("dhcptest0"), pytest.raises(ConfigError) as caught:
        bench_audit(bench, "dhcptest0")
    assert "is down" in caught.value.message
    assert "ip link set dhcptest0 up" in caught.value.remedy
    with pytest.raises(ConfigError) as caught:
        bench_audit(bench, "dhcptest0")
    assert "no interface dhcptest0" in caught.value.message
    with pytest.raises(ServeError) as served:  # a bridge with nothing on it
        bench.audit()
    assert "no carrier" in served.value.message


@pytest.mark.parametrize("name", ["-dhcptest", "dhcp\"'$(x)", "dhcp\033[1m", "--net=none"])
def test_a_link_of_any_name_and_without_an_address_is_asked(bench: Bench, name: str) -> None:
    bench.up("router")
    quoted = name.replace("'", "'\\''")
    with link(quoted, f"ip link set '{quoted}' up", "ip link set dhcppeer0 up"):
        assert names(bench_audit(bench, name)) == {"no-server"}


def test_a_link_whose_name_is_no_text_harms_nobody(bench: Bench) -> None:
    bench.up("router")
    with link("dhcp\udcff"), bench.serve("neighbour", ""):
        assert names(bench.audit(wait=1.0)) == {"no-server"}


def bench_audit(bench: Bench, interface: str):
    from rackctl.dhcp import run_audit

    return run_audit(bench.folder, bench.folder.read_rack(), bench.tftp, interface=interface, wait=1.0)


@pytest.mark.parametrize("mode", ["proxy", "server"])
def test_up_names_a_link_that_is_down(bench: Bench, mode: str) -> None:
    bench.up("router")
    bench.mode = ""
    peers.host(f"ip link set {bench.network.bridge} down")
    try:
        with pytest.raises(ConfigError) as caught:
            bench.up(mode)
    finally:
        peers.host(f"ip link set {bench.network.bridge} up")
    assert f"{bench.network.bridge} is down" in caught.value.message
    assert "up; then run this again" in caught.value.remedy


def test_a_rack_that_moved_is_told_who_holds_its_ports_and_keeps_its_leases(bench: Bench, tmp_path: Path) -> None:
    bench.up("server")
    old, new = bench.folder.path, tmp_path / "elsewhere"
    old.rename(new)
    try:
        done = run_cli("up", "--rack", new)
        assert done.returncode == 7, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "  -> " in done.stderr
        peers.docker("compose", "-p", bench.folder.project, "down")
        with bench.serve("neighbour", ""):
            done = run_cli("up", "--rack", new)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (new / ".rackctl/logs/dhcp.leases").exists()
    finally:
        run_cli("down", "--rack", new)
        new.rename(old)
        bench.mode = ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_audit_needs_no_root(bench: Bench) -> None:
    """A user who may ask the engine, and nothing else; its folder is not in pytest's, which is root's alone."""
    bench.up("router")
    group = os.stat("/var/run/docker.sock").st_gid
    user = ["setpriv", "--reuid=65534", "--regid=65534", f"--groups={group}", "--bounding-set=-all", "--inh-caps=-all"]
    reads = subprocess.run([*user, sys.executable, "-c", f"open({str(RACKCTL)!r})"], capture_output=True, check=False)
    if reads.returncode:
        pytest.skip(f"another user may not read {RACKCTL}: the checkout lies in a folder that is root's alone")
    with tempfile.TemporaryDirectory() as folder, bench.serve("dnsmasq", PLAIN["dnsmasq"]):
        shutil.copy(bench.folder.path / "rack.yml", folder)
        os.chown(folder, 65534, 65534)
        words = ("dhcp", "audit", "--wait", "6", "--rack", folder)
        done = run_cli(*words, program=[*user, RACKCTL], env={"HOME": folder})
    assert f"{bench.router} offers" in done.stdout, done.stdout + done.stderr
