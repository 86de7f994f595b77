"""Machines that go round: they start again and again, or ask for the same once more, and never come further."""

import pytest

from rackctl.core.diagnosis import diagnose
from rackctl.core.events import Event, Stage
from rackctl.core.repeat import find_repeat
from rackctl.core.timeline import fold_events

MAC, IP = "52:54:00:12:34:56", "10.98.0.50"
FILE = {"file": "/srv/current/tftp/snponly.efi"}
ONE = [(0, Stage.DHCP, {"kind": "DHCPACK"}), (1, Stage.LOADER, FILE), (3, Stage.SCRIPT, {"uri": "/boot/x"})]
KERNEL, CONFIG, CHECKIN = (4, Stage.KERNEL, {}), (9, Stage.CONFIG, {}), (12, Stage.CHECKIN, {})
BROKEN = (4, Stage.KERNEL, {"problem": "status", "status": "404", "uri": "/os/x"})


def boots(*each, now=None, gap=40):
    """Each boot begins `gap` seconds after the one before; nothing is known beyond a second after the last event."""
    events = [
        Event(1000.0 + n * gap + at, stage, None if stage is Stage.LOADER else MAC, IP, "problem" not in detail, detail)
        for n, one in enumerate(each)
        for at, stage, detail in one
    ]
    return fold_events(events, now or events[-1].time + 1)


def test_a_script_that_fails_and_reboots_is_said_at_the_third_start():
    two, three = boots(ONE, ONE), boots(ONE, ONE, ONE)
    assert find_repeat(two) is None
    found = find_repeat(three)
    assert three[-1].verdict == "running"  # never silent long enough: that alone would never end
    assert found.code == "repeats-before-kernel" and "3 times" in found.seen and "goes round" in found.seen
    assert "script" in found.causes and found.remedy


def test_the_cause_of_the_round_is_the_diagnosis_of_its_boots():
    found = find_repeat(boots([*ONE, BROKEN], [*ONE, BROKEN], ONE))
    assert "HTTP 404" in found.causes and found.remedy == "rackctl up fetches it"


def test_an_installer_that_starts_again_once_does_not_go_round():
    assert find_repeat(boots([*ONE, KERNEL, CONFIG], ONE)) is None
    assert find_repeat(boots([*ONE, KERNEL, CONFIG], [*ONE, KERNEL])) is None


def test_a_machine_that_came_up_between_does_not_go_round():
    up = [*ONE, KERNEL, CONFIG, CHECKIN]
    assert find_repeat(boots(ONE, up, ONE)) is None
    assert find_repeat(boots(ONE, ONE, up)) is None
    assert find_repeat([]) is None


def test_different_endings_are_a_round_too_when_there_are_many():
    further = [*ONE, KERNEL]
    mixed = [further if n % 2 else ONE for n in range(6)]
    assert find_repeat(boots(*mixed[:5])) is None
    assert find_repeat(boots(*mixed)) is not None


@pytest.mark.parametrize(("first", "again", "missing", "code"), [
    ([], (Stage.DHCP, {"kind": "DHCPACK"}), Stage.LOADER, "dhcp-loop"),
    (ONE, (Stage.SCRIPT, {"uri": "/boot/x"}), Stage.KERNEL, "script-loop")])  # fmt: skip
def test_the_same_within_one_boot_is_a_loop_at_the_fifth_time(first, again, missing, code):
    before = len([one for one in first if one[1] is again[0]])
    for count, verdict in ((4, "running"), (5, "stuck")):
        more = [(10 + n, *again) for n in range(count - before)]
        (found,) = boots([*first, *more])
        assert found.verdict == verdict
    assert found.missing is missing and "5 times" in found.reason
    assert diagnose(found)[0].code == code


def test_a_loop_that_ends_well_is_none():
    more = [(10 + n, Stage.SCRIPT, {"uri": "/boot/x"}) for n in range(6)]
    (found,) = boots([*ONE, *more, (20, Stage.KERNEL, {})])
    assert found.verdict == "running" and not found.looped
