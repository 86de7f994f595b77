"""The tftp service's log: written, rotated, and whole after a kill."""

import pytest
from waiting import wait_for

from rackctl.adapters.logs import Log
from rackctl.adapters.probe import read_tftp
from rackctl.core.tftplog import parse_tftp_line
from services import make_work, running

pytestmark = pytest.mark.engine


def test_the_log_is_rotated_and_outlives_a_kill(tmp_path):
    work = make_work(tmp_path)
    for n in range(60):
        (work / f"served/current/tftp/f{n}").write_text("x")
    (work / "served/current/dnsmasq.conf").write_text("tftp-single-port\n")
    with running("tftp", work, ["LOG_BYTES=2000"]) as tftp:
        log = Log(work / "logs/tftp.jsonl", parse_tftp_line)
        assert wait_for(lambda: (work / "logs/tftp.jsonl").exists())
        seen = []

        def has_all(count):
            seen.extend(e.detail["file"].rpartition("/")[2] for e in log.read() if e.ok)
            return len(seen) >= count

        for n in range(60):
            if n == 30:
                assert wait_for(lambda: has_all(30)), seen  # the kill must not come before the line
                tftp.kill()
            assert read_tftp(tftp.ip, f"f{n}", tries=15) == b"x"
            has_all(n + 1)
        wait_for(lambda: has_all(60))
    assert seen == [f"f{n}" for n in range(60)]
    assert (work / "logs/tftp.jsonl.2").exists()
    assert len(list((work / "logs").iterdir())) <= 4
    assert log.unknown_count == 0
