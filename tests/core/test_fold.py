"""The fold under load and under attack: speed, bounds, and that the order of reading does not matter."""

import json
import statistics
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackctl.core.events import Event, Stage
from rackctl.core.fold import Fold
from rackctl.core.httplog import parse_http_line
from rackctl.core.tftplog import parse_tftp_line
from rackctl.core.timeline import fold_events, judge_boots, latest_by_mac

LINES = 100_000
UA = "iPXE/1.21.1+git-20220113.fbbdc3926-0ubuntu1"


def http(end, ip, uri, sent=3, dur=0.0, method="GET", status=200):
    return (f'{{"end":{end:.3f},"ip":"{ip}","port":"49152","m":"{method}","uri":"{uri}","st":{status},"sent":{sent},'
            f'"len":"{sent}","range":"","dur":{dur:.3f},"done":"OK","ua":"{UA}"}}')  # fmt: skip


def boot_lines(n, machines=200):
    """Ten log lines, as the services write them, of boot number n."""
    k = n % machines
    ip, mac, at = f"10.98.{k // 100}.{50 + k % 100}", f"52-54-00-00-{k // 256:02x}-{k % 256:02x}", 1763930000.0 + n * 3
    facts = f"mac={mac}&uuid=7e1f3cc0-1111-2222-3333-444455556666&serial=SN%2d{k}&platform=pcbios&buildarch=i386"
    tftp = [(0.0, f"dnsmasq-dhcp: DHCPDISCOVER(br0) {mac.replace('-', ':')}"),
            (0.1, f"dnsmasq-dhcp: DHCPACK(br0) {ip} {mac.replace('-', ':')}"),
            (0.2, f"dnsmasq-tftp: error 0 TFTP Aborted received from {ip}"),
            (0.3, f"dnsmasq-tftp: sent /srv/current/tftp/undionly.kpxe to {ip}")]  # fmt: skip
    yield from ((parse_tftp_line, f'{{"t":{at + after:.6f},"line":"{line}"}}') for after, line in tftp)
    yield parse_http_line, http(at + 2, ip, f"/boot/{mac}.ipxe?{facts}&manufacturer=QEMU&product=Standard%20PC", 512)
    yield parse_http_line, http(at + 3, ip, f"/os/discovery/builtin/vmlinuz?m={mac}", 12171200, 0.4)
    yield parse_http_line, http(at + 5, ip, f"/os/discovery/builtin/initrd?m={mac}", 10171200, 1.4)
    yield parse_http_line, http(at + 9, ip, f"/config/{mac}", 312)
    yield parse_http_line, http(at + 10, ip, f"/inventory/{mac}.json", 0, method="PUT", status=201)
    yield (
        parse_http_line,
        http(at + 11, ip, f"/checkin?mac={mac}&hostname=n{k}&os=debian&uptime=7.{n}&cmdline=a%3db"),
    )


@pytest.mark.serial
def test_a_million_lines_fold_in_ten_seconds():
    """In processor time of a machine that reads a million such lines as JSON, and no more, in 2.8 seconds.

    The same code takes 8 to 19 s by the hour on a machine that others share. Part by part, beside json.loads of the
    same lines, it took 2.5 to 2.8 times that in each of six runs.
    """
    lines = [pair for n in range(LINES // 10) for pair in boot_lines(n)]
    fold, ratios = Fold(most=4000), []
    for part in range(20):
        mine = lines[part * LINES // 20 : (part + 1) * LINES // 20]
        started = time.process_time()
        for parse, line in mine:
            if isinstance(event := parse(line), Event):
                fold.feed(event)
        between = time.process_time()
        for _, line in mine:
            json.loads(line)
        ratios.append((between - started) / (time.process_time() - between))
    found = judge_boots(fold, 2e9)
    assert {t.verdict for t in found} == {"done"}
    assert len(found) + fold.forgotten == LINES // 10
    ratio = statistics.median(ratios)
    assert ratio < 10 / 2.8, f"{ratio:.1f} times as long as json.loads"


def test_the_fold_is_bounded_whatever_comes():
    tracemalloc.start()
    fold = Fold(most=4000, known=["02:00:00:00:00:01"])
    fold.feed(Event(0.0, Stage.CHECKIN, "02:00:00:00:00:01", "10.0.0.1", True))
    for n in range(30_000):
        mac, ip = f"52:54:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        fold.feed(
            Event(1.0 + n / 1000, Stage.SCRIPT, mac, ip, True, {"uri": f"/boot/{mac}.ipxe", "hostname": "x" * 200})
        )
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    found = judge_boots(fold, 100.0)
    assert 4000 <= len(found) <= 8001
    assert used < 40 * 2**20
    assert "02:00:00:00:00:01" in latest_by_mac(found)  # a node of rack.yml is not pushed out
    assert fold.forgotten == 30_001 - len(found)


def test_a_machine_that_came_up_outlives_those_that_only_asked():
    fold = Fold(most=50)
    fold.feed(Event(0.0, Stage.CHECKIN, "52:54:00:00:00:01", "10.0.0.1", True))
    for n in range(2000):
        mac = f"52:54:01:00:{n >> 8:02x}:{n & 255:02x}"
        fold.feed(Event(1.0 + n, Stage.SCRIPT, mac, f"10.1.{n >> 8}.{n & 255}", True))
    assert "52:54:00:00:00:01" in latest_by_mac(judge_boots(fold, 5000.0))


DHCP = {"kind": "DHCPACK"}
LATE_LINES = [
    Event(1.0, Stage.DHCP, "52:54:00:00:00:01", "10.0.0.1", True, DHCP),
    Event(2.0, Stage.LOADER, None, "10.0.0.1", True, {"file": "/tftp/undionly.kpxe"}),
    Event(3.0, Stage.LOADER, None, "10.0.0.1", True, {"file": "/tftp/ipxe.lkrn"}),
    Event(5.0, Stage.SCRIPT, "52:54:00:00:00:01", "10.0.0.1", True, {"uri": "/boot/x"}),
    Event(6.0, Stage.KERNEL, "52:54:00:00:00:01", "10.0.0.1", True, {"uri": "/os/x"}),
    Event(9.0, Stage.CHECKIN, "52:54:00:00:00:01", "10.0.0.1", True, {"uri": "/checkin"}),
]


@pytest.mark.parametrize("before", [[], [Event(-500.0 + e.time, *e[1:]) for e in LATE_LINES]], ids=["first", "again"])
@pytest.mark.parametrize(("late", "by"), [
    ([0], 1.5), ([0], 2.5), ([0, 1, 2], 1.5), ([0, 1, 2], 2.5), ([1, 2], 1.5), ([1, 2], 2.5), ([1, 2], 4.5),
    ([1, 2], 12.0), ([2], 2.5), ([2], 12.0)])  # fmt: skip
def test_lines_that_a_busy_machine_wrote_late_are_of_the_same_boot(before, late, by):
    events = [e._replace(time=e.time + by) if n in late else e for n, e in enumerate(LATE_LINES)]
    *_, found = fold_events([*before, *sorted(events, key=lambda e: e.time)], 60.0)
    assert (found.mac, found.verdict) == ("52:54:00:00:00:01", "done")
    wanted = [Stage.DHCP, Stage.LOADER, Stage.SCRIPT, Stage.KERNEL, Stage.CHECKIN]
    # A machine that was up already may ask for an address without starting.
    assert [stage.stage for stage in found.stages if not before or stage.stage is not Stage.DHCP] == wanted[
        bool(before) :
    ]
    ends = [stage.end for stage in found.stages]
    assert ends == sorted(ends)


def test_a_next_boot_soon_after_the_script_is_none_that_is_late():
    again = [e._replace(time=e.time + 8) for e in LATE_LINES[1:]]
    found = fold_events([*LATE_LINES[:4], *again], 60.0)
    assert [one.verdict for one in found] == ["stuck", "done"]
    assert [[stage.name for stage in one.stages] for one in found] == [
        ["dhcp", "loader", "script"], ["loader", "script", "kernel", "checkin"]]  # fmt: skip


MACS = [f"52:54:00:00:00:0{n}" for n in range(3)]
EVENTS = st.builds(
    Event, st.floats(0, 2000), st.sampled_from(Stage), st.sampled_from([*MACS, None]),
    st.sampled_from(["10.0.0.1", "10.0.0.2", ""]), st.booleans(),
    st.fixed_dictionaries({}, optional={"problem": st.sampled_from(["status", "aborted", "interrupted"]),
                                        "uptime": st.text(max_size=4), "state": st.sampled_from(["local", "joined"]),
                                        "kind": st.sampled_from(["PXE", "DHCPACK"]), "uri": st.just("/x")}),
    st.integers(0, 10**9), st.floats(0, 100))  # fmt: skip


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=40), st.floats(0, 5000))
def test_any_events_in_any_order_give_timelines(events, now):
    for timeline in fold_events(events, now):
        said = json.loads(json.dumps(timeline.to_json(), allow_nan=False))
        assert said["seconds"] >= 0
        assert all(stage["seconds"] >= 0 for stage in said["stages"])
        assert timeline.verdict in ("running", "done", "stuck")
        assert (timeline.missing is not None) == (timeline.verdict == "stuck")


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=40), st.floats(0, 5000))
def test_looking_in_between_changes_nothing(events, now):
    fold = Fold()
    for event in events:
        fold.feed(event)
        judge_boots(fold, now)
    assert [t.to_json() for t in judge_boots(fold, now)] == [t.to_json() for t in fold_events(events, now)]


@pytest.mark.parametrize("n", range(3))
def test_the_quick_way_and_the_slow_way_of_a_parser_agree(n):
    for parse, line in boot_lines(n):
        other = json.dumps(dict(reversed(json.loads(line).items())))
        assert parse(line) == parse(other) == parse(line.encode() + b"\n")


HEADS = ["/boot/", "/os/a/b/vmlinuz", "/config/", "/checkin?mac=52-54-00-00-00-01&", "/inventory/"]


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.integers(0, 999), st.integers(0, 50),
       st.sampled_from(["OK", ""]), st.sampled_from(["GET", "PUT", "POST"]), st.sampled_from(HEADS))  # fmt: skip
def test_the_two_ways_agree_on_any_uri(tail, status, sent, done, method, head):
    row = {"end": 9.5, "ip": "10.0.0.1", "port": "1", "m": method, "uri": head + tail, "st": status, "sent": sent,
           "len": "25", "range": "", "dur": 0.25, "done": done, "ua": ""}  # fmt: skip
    plain = json.dumps(row, ensure_ascii=False, separators=(",", ":")).replace("9.5", "9.500").replace("0.25", "0.250")
    found, other = parse_http_line(plain), parse_http_line(json.dumps(dict(reversed(row.items()))))
    assert found == other
