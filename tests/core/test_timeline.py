"""Events into boots: pasted logs with the verdict they must give, and a long log."""

import heapq
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rackctl.core.diagnosis import explain
from rackctl.core.events import Event, Stage
from rackctl.core.httplog import parse_http_line
from rackctl.core.tftplog import parse_tftp_line
from rackctl.core.timeline import fold_events, latest_by_mac

CASES = sorted((Path(__file__).parent.parent / "cases" / "events").glob("boot-*.yml"))
IP = "10.98.0.50"
MAC = "52:54:00:12:34:56"


def read(row):
    """[time, tftp wording] or [time, uri, status, sent, len, seconds]."""
    if len(row) == 2:
        return parse_tftp_line(json.dumps({"t": row[0], "line": f"dnsmasq-tftp: {row[1]}"}))
    time, uri, status, sent, length, dur = row
    return parse_http_line(json.dumps({"end": time, "ip": IP, "m": "GET", "uri": uri, "st": status, "sent": sent,
                                       "len": str(length), "dur": dur, "done": "OK" if sent == length else ""}))  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_a_pasted_boot(path):
    case = YAML(typ="safe").load(path.read_text())
    events = [e for row in case["log"] if isinstance(e := read(row), Event)]
    found = fold_events(events, case["now"], power_on=case.get("power_on"))
    assert len(found) == len(case["boots"])
    for timeline, expected in zip(found, case["boots"], strict=True):
        said = timeline.to_json()
        names = expected.pop("stages", None)
        words = expected.pop("explain", [])
        assert {k: said[k] for k in expected} == expected
        assert names is None or [s.name for s in timeline.stages] == names
        assert all(w in explain(timeline) for w in words)
        json.dumps(said, allow_nan=False)


def test_silence_can_be_overridden():
    events = [Event(10.0, Stage.KERNEL, MAC, IP, True)]
    assert fold_events(events, 100.0)[0].verdict == "running"
    assert fold_events(events, 100.0, silence={Stage.KERNEL: 5.0})[0].verdict == "stuck"


def test_two_machines_swap_an_address():
    other = "52:54:00:00:00:02"
    events = [Event(10.0, Stage.SCRIPT, MAC, IP, True), Event(20.0, Stage.CHECKIN, MAC, IP, True),
              Event(500.0, Stage.LOADER, None, IP, True), Event(503.0, Stage.SCRIPT, other, IP, True)]  # fmt: skip
    found = latest_by_mac(fold_events(events, 510.0))
    assert found[MAC].verdict == "done"
    assert found[other].started == 500.0


def test_a_long_log():
    stages = [Stage.LOADER, Stage.SCRIPT, Stage.KERNEL, Stage.INITRD, Stage.CHECKIN]
    logs = [[Event(float(n * 300 + i), s, None if s is Stage.LOADER else f"52:54:00:00:00:{m:02x}", f"10.0.0.{m}", True)
             for n in range(1000) for i, s in enumerate(stages)] for m in range(40)]  # fmt: skip
    found = fold_events(heapq.merge(*logs, key=lambda e: e.time), 1e9)
    assert len(found) == 40_000
    assert {t.verdict for t in found} == {"done"}


def test_the_dhcp_stage_is_the_firmwares_not_that_of_ipxe_after_it():
    events = [
        Event(1000.0, Stage.DHCP, MAC, IP, True, {"kind": "DHCPACK"}),
        Event(1001.0, Stage.LOADER, None, IP, True, {"file": "pxelinux.0"}),
        Event(1006.0, Stage.DHCP, MAC, IP, True, {"kind": "DHCPACK"}),
        Event(1007.0, Stage.SCRIPT, MAC, IP, True, {}),
    ]
    [timeline] = fold_events(events, 1008.0)
    assert {stage.name: stage.end for stage in timeline.stages} == {"dhcp": 1000.0, "loader": 1001.0, "script": 1007.0}


def test_a_loader_that_asks_for_addresses_alone_is_not_on_its_way():
    """Where rackctl sees DHCP: iPXE asks once a round, for minutes; so is a late line of the firmware."""
    asks = [Event(1000.0 + 40 * n, Stage.DHCP, MAC, IP, True, {"kind": "DHCPACK"}) for n in range(4)]
    events = [asks[0], Event(1001.0, Stage.LOADER, None, IP, True, {"file": "undionly.kpxe"}), *asks[1:]]
    [timeline] = fold_events([event for event in events if event.time < 1062], 1062.0)
    assert (timeline.verdict, timeline.missing) == ("stuck", Stage.SCRIPT)
    assert timeline.reason == "it asked for an address and for nothing else for 61 s after loader (60 s are allowed)"
    [timeline] = fold_events([*events, Event(1121.0, Stage.SCRIPT, MAC, IP, True)], 1122.0)
    assert timeline.verdict == "running"  # it came through all the same
