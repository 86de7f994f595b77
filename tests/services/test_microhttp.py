"""microhttp as it is served: check-ins, inventories, install once, the log's rotation, and what it refuses."""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import wait_for

from rackctl.adapters.logs import Log
from rackctl.core.events import Stage
from rackctl.core.httplog import parse_http_line
from services import docker, make_work, running

pytestmark = pytest.mark.engine
MAC = "52-54-00-12-34-56"
LIMITS = ["LOG_BYTES=20000", "CHECK_SECONDS=0.2", "INVENTORIES=3", "STATUS_ALLOW=127.0.0.0/8 172.16.0.0/12"]


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    work = make_work(tmp_path_factory.mktemp("microhttp"))
    boot = work / "served/current/http/boot"
    for name in ("default", MAC, f"{MAC}.installed", "52-54-00-12-34-57"):
        (boot / f"{name}.ipxe").write_text(f"#!ipxe\necho {name}\n")
    (work / "status/status.json").write_text("{}")
    with running("microhttp", work, LIMITS) as service:
        assert wait_for(service.up), docker("logs", service.name)
        yield service


def events(service):
    return list(Log(service.work / "logs/http.jsonl", parse_http_line).read())


def test_a_check_in_is_its_log_line(http):
    assert http.ask(f"/checkin?mac={MAC}&hostname=n1")[:2] == (200, b"ok\n")
    assert http.ask("/checkin?mac=52-54-00-00-00-99&x=%00", method="POST", data=b"x")[0] == 200
    assert wait_for(lambda: [e for e in events(http) if e.stage is Stage.CHECKIN and e.mac == "52:54:00:00:00:99"])


def test_an_inventory_is_kept_whole_and_nothing_else_is(http):
    body = json.dumps({"cpus": 4}).encode()
    assert http.ask(f"/inventory/{MAC}.json", method="PUT", data=body)[0] == 201
    assert (http.work / f"inventory/{MAC}.json").read_bytes() == body
    assert http.ask(f"/inventory/{MAC}.json", method="PUT", data=b"{}")[0] == 204
    assert http.ask(f"/inventory/{MAC}.json")[0] == 403
    assert http.ask(f"/inventory/{MAC}.json", method="DELETE")[0] in (403, 405)
    assert http.ask(f"/inventory/{MAC}.json", method="PUT", data=b"x" * 70_000)[0] == 413
    for name in ("x.json", "../state/x.json", "52-54-00-12-34-5G.json", f"{MAC}.json/x", f"{MAC}.json.part",
                 "52:54:00:12:34:56.json", "5A-54-00-12-34-56.json", "%2e%2e/x.json", ""):  # fmt: skip
        assert http.ask(f"/inventory/{name}", method="PUT", data=b"{}")[0] in (400, 403, 404, 405, 409)
    assert http.ask("/boot/x.ipxe", method="PUT", data=b"x")[0] in (403, 405)
    assert sorted(f.name for f in (http.work / "inventory").iterdir()) == [".part", f"{MAC}.json"]
    assert wait_for(lambda: [e for e in events(http) if e.stage is Stage.INVENTORY and e.ok])


def test_inventories_of_unknown_machines_are_bounded(http):
    folder = http.work / "inventory"
    for n in range(6):
        (folder / f"02-00-00-00-00-0{n}.json").write_text("{}")
    (folder / "52-54-00-12-34-57.json").write_text("{}")  # a node of rack.yml, and the oldest but one
    left = {"52-54-00-12-34-56.json", "52-54-00-12-34-57.json", "02-00-00-00-00-05.json"}
    assert wait_for(lambda: {f.name for f in folder.glob("*.json")} == left)


def test_a_flood_of_inventories_is_refused_and_not_logged(http):
    found, began = [], time.monotonic()
    for n in range(600):
        found.append(http.ask(f"/inventory/02-00-00-00-01-{n % 256:02x}.json", method="PUT", data=b"{}")[0])
        if found.count(429) >= 30:
            break
    assert found.count(429) >= 30
    # As many as nginx.conf lets through: ten at once, and two a second.
    assert len(found) - found.count(429) <= 12 + 2 * (time.monotonic() - began)
    assert not [e for e in events(http) if e.detail.get("status") == "429"]


def test_a_node_is_installed_once(http):
    mark = http.work / "state/installed" / MAC
    script = f"/boot/{MAC}.ipxe?mac={MAC}"
    assert http.ask(script)[1] == f"#!ipxe\necho {MAC}\n".encode()
    http.ask(f"/checkin?mac={MAC}&state=other")
    assert not mark.exists()
    assert http.ask(f"/checkin?mac={MAC.replace('-', ':')}&state=installed")[0] == 200
    assert wait_for(mark.exists)
    assert http.ask(script)[1] == f"#!ipxe\necho {MAC}.installed\n".encode()
    mark.unlink()
    assert http.ask(script)[1] == f"#!ipxe\necho {MAC}\n".encode()
    for mac in ("52-54-00-12-34-57", "02-00-00-00-00-01", "../../x", "x"):  # nodes that are not installed once
        http.ask(f"/checkin?mac={mac}&state=installed")
    assert [f.name for f in (http.work / "state/installed").iterdir()] == []


def test_the_status_page_is_for_those_who_are_allowed(http, tmp_path):
    status, _, headers = http.ask("/status.json")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    with running("microhttp", http.work, ["STATUS_ALLOW=192.0.2.0/24"]) as other:
        assert wait_for(other.up)
        assert other.ask("/status.json")[0] == 403
        assert other.ask("/boot/default.ipxe")[0] == 200


def test_no_line_is_lost_when_the_log_is_rotated(http):
    log = Log(http.work / "logs/http.jsonl", parse_http_line)
    list(log.read())
    known = log.unknown_count
    seen = []

    def is_rotated():
        with contextlib.suppress(FileNotFoundError):
            return (http.work / "logs/http.jsonl").stat().st_size < 20_000
        return False

    with ThreadPoolExecutor(4) as pool:
        for start in range(0, 240, 20):
            list(
                pool.map(lambda n: http.ask(f"/boot/default.ipxe?mac=02-00-00-00-02-{n:02x}"), range(start, start + 20))
            )
            seen += [e.mac for e in log.read()]
            assert wait_for(is_rotated)

    def has_all():
        seen.extend(e.mac for e in log.read())
        return len(seen) >= 240

    wait_for(has_all)
    assert (http.work / "logs/http.jsonl.2").exists()
    assert sorted(seen) == [f"02:00:00:00:02:{n:02x}" for n in range(240)]
    assert log.unknown_count == known
    assert len(list((http.work / "logs").iterdir())) <= 4


def test_a_killed_service_loses_nothing_that_was_logged(http):
    http.ask(f"/checkin?mac={MAC}&hostname=before")
    assert wait_for(lambda: [e for e in events(http) if e.detail.get("hostname") == "before"])
    with open(http.work / "logs/http.jsonl", "a") as torn:
        torn.write('{"end":17')
    http.kill()
    assert wait_for(http.up)
    http.ask(f"/checkin?mac={MAC}&hostname=after")

    def names():
        return [e.detail.get("hostname") for e in events(http) if e.stage is Stage.CHECKIN]

    wait_for(lambda: names()[-1:] == ["after"])
    assert names()[-2:] == ["before", "after"]
