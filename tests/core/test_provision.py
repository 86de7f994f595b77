from dataclasses import replace

import pytest

from rackctl.core.events import Stage
from rackctl.core.fold import StageTime
from rackctl.core.provision import (
    DISK_WAIT,
    JOIN_WAIT,
    Ending,
    Run,
    change_loader,
    deserves_retry,
    follow,
    judge,
    judge_round,
    of_this_start,
    summary,
)
from rackctl.core.timeline import SILENCE, Timeline

MAC = "52:54:00:12:34:56"
RUN = Run("n", MAC, Stage.CHECKIN, powered=1000.0)


def boot(*stages: Stage, started: float = 1005.0, **more: object) -> Timeline:
    times = tuple(StageTime(s, started, started + 10.0 * i, 0, True) for i, s in enumerate(stages))
    return Timeline(MAC, "10.0.0.1", started, times, **{"verdict": "running", **more})  # type: ignore[arg-type]


def test_up_counts_from_the_power() -> None:
    timeline = boot(Stage.LOADER, Stage.SCRIPT, Stage.CHECKIN, verdict="done")
    ending = judge(RUN, timeline, 1040)
    assert ending and (ending.state, ending.seconds) == ("up", 25.0)


def test_joining_is_waited_for() -> None:
    run = replace(RUN, until=Stage.JOINED)
    assert judge(run, boot(Stage.CHECKIN, verdict="done"), 1010) is None
    late = judge(run, boot(Stage.CHECKIN, verdict="done"), 1005 + JOIN_WAIT + 1)
    assert late and (late.state, late.stage) == ("failed", "joined")
    ending = judge(run, boot(Stage.CHECKIN, Stage.JOINED, verdict="done"), 1020)
    assert ending and ending.state == "joined"


def test_a_system_that_cannot_check_in_ends_with_the_last_that_it_tells() -> None:
    run = replace(RUN, until=Stage.CONFIG)
    assert judge(run, boot(Stage.KERNEL, Stage.INITRD), 1040) is None
    ending = judge(run, boot(Stage.KERNEL, Stage.INITRD, Stage.CONFIG), 1040)
    assert ending and (ending.state, ending.seconds, ending.ok) == ("loaded", 25.0, True)
    assert summary([ending]).splitlines()[0] == "n  loaded, and its system tells no more, 25 s"


def test_a_disk_from_which_nothing_checks_in_is_not_waited_for_without_end() -> None:
    local = boot(Stage.LOADER, Stage.SCRIPT, verdict="done")
    assert judge(RUN, local, 1015 + DISK_WAIT) is None
    late = judge(RUN, local, 1016 + DISK_WAIT)
    assert late and (late.state, late.stage) == ("failed", "checkin")


def test_a_silent_machine() -> None:
    assert judge(RUN, None, 1000 + SILENCE[Stage.POWER]) is None
    ending = judge(RUN, None, 1001 + SILENCE[Stage.POWER])
    assert ending and (ending.state, ending.stage) == ("failed", "firmware")


def test_an_earlier_boot_is_not_this_one() -> None:
    old, new = boot(Stage.CHECKIN, started=900.0), boot(Stage.LOADER)
    assert of_this_start(RUN, [old]) == []
    assert of_this_start(RUN, [old, new]) == [new]


def test_progress_is_told_once() -> None:
    timeline = boot(Stage.LOADER)
    fresh = follow(RUN, timeline)
    assert fresh.reached == ("loader",)
    assert follow(fresh, timeline) is fresh


@pytest.mark.parametrize(
    ("missing", "problem", "tries", "again"),
    [
        (Stage.KERNEL, "aborted", 1, True),
        (Stage.SCRIPT, "", 1, True),
        (Stage.KERNEL, "aborted", 2, False),
        (Stage.KERNEL, "status", 1, False),
        (Stage.CONFIG, "", 1, False),
    ],
)
def test_who_gets_a_second_try(missing: Stage, problem: str, tries: int, again: bool) -> None:
    timeline = boot(Stage.LOADER, verdict="stuck", missing=missing, problem=problem, reason="why", remedy="so")
    ending = judge(replace(RUN, tries=tries), timeline, 1100)
    assert ending and ending.state == "failed"
    assert deserves_retry(ending) is again


def test_a_machine_that_goes_round_is_not_waited_for_without_end() -> None:
    ended = {"verdict": "stuck", "missing": Stage.KERNEL, "stuck_after": Stage.SCRIPT, "reason": "it started again"}
    boots = [boot(Stage.LOADER, Stage.SCRIPT, started=1005.0 + 40 * n, **ended) for n in range(2)]
    assert judge_round(RUN, [*boots[:1], boot(Stage.LOADER, started=1045)], 1050) is None
    last = boot(Stage.LOADER, started=1085)
    assert judge(RUN, last, 1090) is None  # never silent for long
    ending = judge_round(RUN, [*boots, last], 1090)
    assert ending and (ending.state, ending.stage, ending.seconds) == ("failed", "kernel", 90.0)
    assert "3 times" in ending.text and not deserves_retry(ending)


def loaded(file: str, **more: object) -> Ending:
    stage = StageTime(Stage.LOADER, 1005.0, 1006.0, 0, True, {"file": f"/srv/current/tftp/{file}"})
    keys = {"verdict": "stuck", "missing": Stage.SCRIPT, "reason": "silent", **more}
    return Ending("n", "failed", timeline=Timeline(MAC, "10.0.0.1", 1005.0, (stage,), **keys))  # type: ignore[arg-type]


def test_which_failure_calls_for_the_other_loader() -> None:
    assert change_loader(loaded("undionly.kpxe"), None) == "ipxe"
    assert change_loader(loaded("52-54-00-12-34-56/undionly.kpxe"), "ipxe") == "snponly"
    assert change_loader(loaded("undionly.kpxe", problem="status"), None) is None  # the script was asked for
    assert change_loader(loaded("undionly.kpxe", missing=Stage.KERNEL), None) is None
    assert change_loader(loaded("pxelinux.0"), None) is None


def test_an_installer_checks_in_and_joins_from_its_disk() -> None:
    run = follow(replace(RUN, until=Stage.JOINED), boot(Stage.SCRIPT, Stage.CHECKIN, verdict="done"))
    assert run.came_up == 1015
    by_disk = boot(Stage.SCRIPT, started=1100.0, verdict="done")
    assert judge(follow(run, by_disk), by_disk, 1200) is None
    late = judge(run, by_disk, 1016 + JOIN_WAIT)
    assert late and (late.state, late.stage) == ("failed", "joined")


def test_a_machine_that_is_installed_goes_to_its_disk() -> None:
    ending = judge(replace(RUN, until=Stage.SCRIPT), boot(Stage.LOADER, Stage.SCRIPT, verdict="done"), 1030)
    assert ending and (ending.state, ending.ok, "--reinstall" in ending.remedy) == ("disk", True, True)


def test_the_summary() -> None:
    text = summary([Ending("a", "up", 73.6), Ending("node2", "failed", 9, "script", "a loop", "mend it", 2)])
    assert text.splitlines() == [
        "a      up, 74 s",
        "node2  failed before script: a loop, 2 tries",
        "       -> mend it",
        "1 of 2 provisioned",
    ]
    assert summary([Ending("a", "up", 140, tries=2, loader="ipxe")]).splitlines()[:2] == [
        "a  up, 140 s, 2 tries, the second with the loader ipxe",
        "   -> write loader: ipxe to nodes.a in rack.yml, or the next rackctl up takes it away again",
    ]
