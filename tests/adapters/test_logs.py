"""Following logs that grow, are torn, rotated, emptied and lost."""

import os
import random

from rackctl.adapters.logs import KEPT_UNKNOWN, Log, open_logs, read_events
from rackctl.core.events import MAX_LINE, Event, Stage
from rackctl.core.tftplog import parse_tftp_line
from rackctl.core.timeline import fold_events


def line(n, ip="10.0.0.1"):
    return f'{{"t":{1000 + n}.000000,"line":"dnsmasq-tftp: sent /srv/a{n} to {ip}"}}\n'


def names(log):
    return [event.detail["file"].removeprefix("/srv/a") for event in log.read()]


def rotate(file, parts=3):
    for n in range(parts, 1, -1):
        if (old := file.with_name(f"{file.name}.{n - 1}")).exists():
            old.rename(file.with_name(f"{file.name}.{n}"))
    file.rename(file.with_name(f"{file.name}.1"))


def append(file, text):
    with open(file, "a") as handle:
        handle.write(text)


def test_each_read_gives_the_new_lines(tmp_path):
    file = tmp_path / "tftp.jsonl"
    log = Log(file, parse_tftp_line)
    assert names(log) == []
    append(file, line(1) + line(2)[:20])
    assert names(log) == ["1"]
    append(file, line(2)[20:])
    assert names(log) == ["2"]
    assert names(log) == []


def test_a_read_costs_the_new_lines_only(tmp_path, monkeypatch):
    file = tmp_path / "tftp.jsonl"
    append(file, "".join(map(line, range(20_000))))
    log = Log(file, parse_tftp_line)
    assert len(names(log)) == 20_000
    asked = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: asked.append(size) or pread(fd, size, at))
    append(file, line(20_000))
    assert names(log) == ["20000"]
    assert sum(asked) < 500


def test_lines_on_both_sides_of_a_rotation(tmp_path):
    file = tmp_path / "tftp.jsonl"
    log = Log(file, parse_tftp_line)
    append(file, line(1))
    assert names(log) == ["1"]
    append(file, line(2))
    rotate(file)
    assert names(log) == ["2"]
    append(tmp_path / "tftp.jsonl.1", line(3))  # nginx writes to the old file until it has opened the new one
    file.touch()
    assert names(log) == ["3"]
    append(file, line(4))
    rotate(file)
    append(file, line(5))
    rotate(file)
    append(file, line(6))
    assert names(log) == ["4", "5", "6"]


def test_a_whole_log_is_read_from_its_oldest_part(tmp_path):
    file = tmp_path / "tftp.jsonl"
    for n in range(4):
        append(file, line(n))
        if n < 3:
            rotate(file)
    assert names(Log(file, parse_tftp_line)) == ["0", "1", "2", "3"]


def test_an_emptied_log_is_read_anew(tmp_path):
    file = tmp_path / "tftp.jsonl"
    log = Log(file, parse_tftp_line)
    append(file, line(1) + line(2))
    assert names(log) == ["1", "2"]
    file.write_text(line(3))
    assert names(log) == ["3"]
    file.write_text(line(4) + line(5) + line(6))
    assert names(log) == ["4", "5", "6"]


def test_a_log_rotated_away_altogether(tmp_path):
    file = tmp_path / "tftp.jsonl"
    log = Log(file, parse_tftp_line)
    append(file, line(1))
    assert names(log) == ["1"]
    for n in range(2, 8):
        rotate(file)
        append(file, line(n))
    assert names(log) == ["4", "5", "6", "7"]


def test_a_torn_line_costs_itself_alone(tmp_path):
    file = tmp_path / "tftp.jsonl"
    append(file, line(1) + line(2)[:30] + "\n" + line(3))
    log = Log(file, parse_tftp_line)
    assert names(log) == ["1", "3"]
    assert log.unknown_count == 1


def test_binary_huge_and_hostile_lines_cost_little(tmp_path):
    file = tmp_path / "tftp.jsonl"
    noise = random.Random(7).randbytes(300_000)
    file.write_bytes(noise + b"\n" + b"x" * (5 * MAX_LINE) + b"\n" + line(1).encode() + b"\x00\xff{\n" * 5000)
    log = Log(file, parse_tftp_line)
    assert names(log) == ["1"]
    assert len(log.unknown) == KEPT_UNKNOWN
    assert log.unknown_count > 5000
    assert all(one.text.isprintable() and len(one.text) <= 200 for one in log.unknown)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text(line(1))
    (tmp_path / "tftp.jsonl").symlink_to(tmp_path / "secret")
    assert names(Log(tmp_path / "tftp.jsonl", parse_tftp_line)) == []


def test_both_logs_in_order_of_time(tmp_path):
    append(tmp_path / "tftp.jsonl", line(1) + line(30))
    append(tmp_path / "http.jsonl", '{"end":1003.000,"ip":"10.0.0.1","m":"GET","uri":"/boot/52-54-00-00-00-01.ipxe",'
           '"st":200,"sent":3,"len":"3","dur":0.000,"done":"OK"}\n')  # fmt: skip
    found = list(read_events(open_logs(tmp_path)))
    assert [e.time for e in found] == [1001.0, 1003.0, 1030.0]
    assert all(isinstance(e, Event) for e in found)
    assert [t.stages[0].stage for t in fold_events(found, 1031.0)] == [Stage.LOADER, Stage.LOADER]
