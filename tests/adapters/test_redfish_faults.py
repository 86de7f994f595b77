"""Redfish BMCs of every odd kind, played by a server of ours: what an emulator does not get wrong."""

import contextlib
import http.server
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from real_cli import planted, run_cli
from redfish_emulator import run

from rackctl.adapters.bmcprobe import speaks_redfish
from rackctl.adapters.redfish import Redfish
from rackctl.core.model_bmc import Bmc
from rackctl.core.power import Fault, Order, Outcome, Verb


class Fake(http.server.BaseHTTPRequestHandler):
    """Answers what the emulator cannot be made to answer. paths: code and body by path; posts: bodies that came."""

    paths: ClassVar[dict[str, tuple[int, object]]] = {}
    posts: ClassVar[list[tuple[str, object]]] = []
    headers_of: ClassVar[dict[str, dict[str, str]]] = {}

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null") if length else None
        if self.command != "GET":
            self.posts.append((f"{self.command} {self.path}", body))
        code, found = self.paths.get(f"{self.command} {self.path.rstrip('/')}", (404, {}))
        if callable(found):
            code, found = found(body)
        raw = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for key, value in self.headers_of.get(f"{self.command} {self.path}", {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        pass


RESETS = ["On", "ForceOff", "ForceRestart", "GracefulShutdown", "PowerCycle"]
SYSTEM = {
    "@odata.id": "/redfish/v1/Systems/1", "Id": "1", "Name": "one", "PowerState": "On", "Manufacturer": "Fake",
    "Boot": {"BootSourceOverrideTarget": "None", "BootSourceOverrideEnabled": "Disabled",
             "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "BiosSetup"]},
    "LogServices": {"@odata.id": "/redfish/v1/Systems/1/LogServices"},
    "Links": {"Chassis": [{"@odata.id": "/redfish/v1/Chassis/1"}]},
    "Actions": {"#ComputerSystem.Reset": {"target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset",
                "ResetType@Redfish.AllowableValues": RESETS}},
}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[type[Fake]]:
    Fake.posts, Fake.headers_of = [], {}
    Fake.paths = {
        "GET /redfish/v1": (200, {"Id": "r", "Name": "root", "RedfishVersion": "1.6.0",
                                  "Systems": {"@odata.id": "/redfish/v1/Systems"}}),
        "GET /redfish/v1/Systems": (200, {"Name": "s", "Members": [{"@odata.id": "/redfish/v1/Systems/1"}]}),
        "GET /redfish/v1/Systems/1": (200, SYSTEM),
    }  # fmt: skip
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    Fake.port = server.server_port  # type: ignore[attr-defined]
    yield Fake
    server.shutdown()


def ask(fake: type[Fake], verb: Verb, wait: float = 1, timeout: float = 8, **more: object) -> Outcome:
    keys = {"driver": "redfish", "address": "127.0.0.1", "port": fake.port, "user": "a", "tls": False, "wait": wait,  # type: ignore[attr-defined]
            "timeout": timeout}  # fmt: skip
    return run(Order("f", "52:54:00:00:00:01", Bmc(**keys), verb, "p", **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "fault"),
    [(401, Fault.AUTH), (403, Fault.PRIVILEGE), (404, Fault.UNSUPPORTED), (500, Fault.REFUSED),
     (501, Fault.UNSUPPORTED), (503, Fault.BUSY)],
)  # fmt: skip
def test_what_the_codes_mean(fake: type[Fake], code: int, fault: Fault) -> None:
    fake.paths["GET /redfish/v1/Systems/1"] = (code, {"error": {"message": "no"}})
    assert ask(fake, Verb.STATUS).fault is fault


def test_no_answer_to_a_command_is_judged_by_the_state_and_never_sent_again(fake: type[Fake]) -> None:
    reset = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset"

    def slow(_body: object) -> tuple[int, object]:
        fake.paths["GET /redfish/v1/Systems/1"] = (200, {**SYSTEM, "PowerState": "Off"})
        time.sleep(2.5)
        return 204, {}

    fake.paths[reset] = (200, slow)
    outcome = ask(fake, Verb.OFF, timeout=1)
    assert (outcome.state, outcome.fault) == ("off", None)
    assert "no answer" in outcome.warnings[0]
    fake.paths["GET /redfish/v1/Systems/1"] = (200, SYSTEM)
    assert ask(fake, Verb.RESET, timeout=1).fault is Fault.TIMEOUT  # the state tells nothing of a reset
    sent = [body for what, body in fake.posts if what == reset]
    assert sent == [{"ResetType": "ForceOff"}, {"ResetType": "ForceRestart"}]


def test_a_session_is_used_and_ended(fake: type[Fake]) -> None:
    sessions = "/redfish/v1/SessionService/Sessions"
    root = fake.paths["GET /redfish/v1"][1]
    fake.paths["GET /redfish/v1"] = (200, {**root, "Links": {"Sessions": {"@odata.id": sessions}}})  # type: ignore[dict-item]
    fake.paths |= {f"POST {sessions}": (201, {}), f"DELETE {sessions}/7": (204, {})}
    fake.headers_of[f"POST {sessions}"] = {"X-Auth-Token": "t", "Location": f"{sessions}/7"}
    assert ask(fake, Verb.STATUS).state == "on"
    assert fake.posts == [(f"POST {sessions}", {"UserName": "a", "Password": "p"}), (f"DELETE {sessions}/7", None)]


def test_an_answer_that_is_not_redfish(fake: type[Fake]) -> None:
    fake.paths["GET /redfish/v1/Systems/1"] = (200, ["what"])
    assert ask(fake, Verb.STATUS).fault is Fault.REFUSED


_CHASSIS, _LOGS = "/redfish/v1/Chassis/1", "/redfish/v1/Systems/1/LogServices"
ODD = (
    {}, {"PowerState": None}, {"Links": []}, {"Links": {"Chassis": None}}, {"Links": {"Chassis": [None, 7]}},
    {"Actions": {}}, {"Actions": None}, {"Actions": {"#ComputerSystem.Reset": {}}}, {"Boot": None}, {"Boot": []},
    {"LogServices": None}, {"LogServices": {"@odata.id": 5}}, {"Links": {"ManagedBy": {"@odata.id": "/x"}}},
)  # fmt: skip
ODD_PARTS = (
    None, [], "text", {"Thermal": None}, {"Thermal": {}}, {"Thermal": {"@odata.id": _CHASSIS}, "Temperatures": [None]},
    {"Thermal": {"@odata.id": _CHASSIS}, "Temperatures": [{"Status": None, "ReadingCelsius": []}]},
    {"Thermal": {"@odata.id": _CHASSIS}, "Temperatures": {"a": 1}},
    {"Sensors": {"@odata.id": _CHASSIS}, "Members": [{}]},
)  # fmt: skip
ODD_LOGS = (
    None, [], {"Members": None}, {"Members": [None]}, {"Members": [{"@odata.id": _LOGS}], "Entries": None},
    {"Members": [{"@odata.id": _LOGS}], "Entries": {"@odata.id": _LOGS}, "Actions": None},
)  # fmt: skip
VERBS = [verb for verb in Verb if verb is not Verb.BOOTDEV]


@pytest.mark.parametrize("verb", VERBS)
def test_whatever_a_bmc_leaves_out_is_an_outcome(fake: type[Fake], verb: Verb) -> None:
    """No answer of one machine's BMC ends the batch."""
    for change in ODD:
        fake.paths["GET /redfish/v1/Systems/1"] = (200, {**SYSTEM, **change})
        assert ask(fake, verb, wait=0).verb is verb
    fake.paths["GET /redfish/v1/Systems/1"] = (200, SYSTEM)
    for part in ODD_PARTS if verb in (Verb.SENSORS, Verb.CHECK) else ():
        fake.paths[f"GET {_CHASSIS}"] = (200, part)
        assert ask(fake, verb).verb is verb
    for part in ODD_LOGS if verb in (Verb.SEL, Verb.SEL_CLEAR) else ():
        fake.paths[f"GET {_LOGS}"] = (200, part)
        assert ask(fake, verb).verb is verb


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"\xff\xfe", b"[1]", b"{", b"null"])
def test_a_web_server_that_is_no_redfish(fake: type[Fake], body: bytes) -> None:
    fake.paths["GET /redfish/v1"] = (200, body)
    outcome = ask(fake, Verb.STATUS)
    assert outcome.fault in (Fault.REFUSED, Fault.UNSUPPORTED)
    assert outcome.text


SLOW = 9.0  # seconds for which the servers below go on, so that a reader who never gives up fails
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# What such a server says first, then again and again, and the seconds between.
ENDLESS = {
    "headers": (HEAD, b"X: y\r\n", 0.1), "body": (HEAD + b"\r\n", b" ", 0.1),
    "flood": (HEAD + b"\r\n", b" " * 2**20, 0), "deep": (HEAD + b"\r\n", b"[" * 2**20, SLOW),
}  # fmt: skip


class Endless(socketserver.ThreadingTCPServer):
    """Its answer goes on. sent: how many parts of it went out."""

    daemon_threads = True

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), EndlessAnswer)
        self.kind, self.sent, self.port = kind, 0, int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class EndlessAnswer(socketserver.StreamRequestHandler):
    server: Endless

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        head, part, pause = ENDLESS[self.server.kind]
        limit = time.monotonic() + SLOW
        with contextlib.suppress(OSError):  # the reader went away
            self.wfile.write(head)
            while time.monotonic() < limit:
                self.wfile.write(part)
                self.server.sent += 1
                if pause == SLOW:
                    return
                time.sleep(pause)


@pytest.fixture
def endless() -> Iterator[dict[str, Endless]]:
    servers = {kind: Endless(kind) for kind in ENDLESS}
    yield servers
    for server in servers.values():
        server.shutdown()
        server.socket.close()


@pytest.mark.serial
def test_an_answer_without_end_ends_its_order_and_not_the_batch(endless: dict[str, Endless], fake: type[Fake]) -> None:
    ports = {kind: server.port for kind, server in endless.items()} | {"good": fake.port}  # type: ignore[attr-defined]
    orders = []
    for kind, port in ports.items():
        bmc = Bmc(driver="redfish", address="127.0.0.1", port=port, tls=False, timeout=1, user="a")
        orders.append(Order(kind, "52:54:00:00:00:01", bmc, Verb.STATUS, "p"))
    found: dict[str, Outcome] = {}
    begin = time.monotonic()
    Redfish(Path("/")).carry_out(orders, lambda outcome: found.setdefault(outcome.node, outcome) and None)
    assert time.monotonic() - begin < SLOW - 2
    assert {kind: outcome.fault for kind, outcome in found.items()} == {
        "headers": Fault.TIMEOUT, "body": Fault.TIMEOUT, "flood": Fault.REFUSED, "deep": Fault.REFUSED, "good": None,
    }  # fmt: skip
    assert "larger than 4 MiB" in found["flood"].text
    assert endless["flood"].sent < 32


@pytest.mark.serial
@pytest.mark.parametrize("kind", ["headers", "body", "deep"])
def test_what_never_ends_is_no_redfish(endless: dict[str, Endless], monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("rackctl.adapters.bmcprobe._WAIT", 0.7)
    begin = time.monotonic()
    assert not speaks_redfish(Bmc(address="127.0.0.1", port=endless[kind].port, tls=False))
    assert time.monotonic() - begin < SLOW - 2


def test_a_boot_device_that_is_ignored(fake: type[Fake]) -> None:
    fake.paths["PATCH /redfish/v1/Systems/1"] = (200, {})
    outcome = ask(fake, Verb.BOOTDEV, device="pxe")
    assert outcome.fault is Fault.IGNORED
    boot = {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}
    assert fake.posts[-1] == ("PATCH /redfish/v1/Systems/1", {"Boot": boot})


def test_a_refused_boot_mode_is_left_as_it_is(fake: type[Fake]) -> None:
    boot = {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Once"}

    def patch(body: dict[str, dict[str, str]]) -> tuple[int, object]:
        if "BootSourceOverrideMode" in body["Boot"]:
            return 400, {"error": {"message": "mode is read-only"}}
        fake.paths["GET /redfish/v1/Systems/1"] = (200, {**SYSTEM, "Boot": {**SYSTEM["Boot"], **boot}})  # type: ignore[dict-item]
        return 200, {}

    fake.paths["PATCH /redfish/v1/Systems/1"] = (200, patch)
    outcome = ask(fake, Verb.BOOTDEV, device="pxe", efi=True)
    assert (outcome.fault, len(outcome.warnings)) == (None, 1)


def test_events_and_sensors_of_a_bmc_that_has_them(fake: type[Fake]) -> None:
    log = "/redfish/v1/Systems/1/LogServices"
    entry = {"@odata.id": f"{log}/SEL/Entries/1", "Id": "1", "Created": "2026-01-02T03:04:05Z", "Message": "Fan failed",
             "Severity": "Critical"}  # fmt: skip
    fake.paths |= {
        f"GET {log}": (200, {"Members": [{"@odata.id": f"{log}/SEL"}]}),
        f"GET {log}/SEL": (200, {"Id": "SEL", "Entries": {"@odata.id": f"{log}/SEL/Entries"},
                                 "Actions": {"#LogService.ClearLog": {"target": f"{log}/SEL/Clear"}}}),
        f"GET {log}/SEL/Entries": (200, {"Members": [entry]}),
        f"POST {log}/SEL/Clear": (204, {}),
        "GET /redfish/v1/Chassis/1": (200, {"Thermal": {"@odata.id": "/redfish/v1/Chassis/1/Thermal"}}),
        "GET /redfish/v1/Chassis/1/Thermal": (200, {"Temperatures": [
            {"Name": "CPU", "ReadingCelsius": 41, "Status": {"Health": "OK"}}]}),
    }  # fmt: skip
    assert ask(fake, Verb.SEL).rows[0]["event"] == "Fan failed"
    assert ask(fake, Verb.SEL_CLEAR).text == "1 logs cleared"
    assert ask(fake, Verb.SENSORS).rows == ({"name": "CPU", "value": "41", "unit": "degrees C", "status": "OK"},)


def with_log(fake: type[Fake], pages: int) -> str:
    """A log of two entries a page, and one that shows none; what clears the first."""
    log = "/redfish/v1/Systems/1/LogServices"
    entries = f"{log}/SEL/Entries"
    dumps = {"#LogService.ClearLog": {"target": f"{log}/Dumps/Clear"}}
    fake.paths |= {
        f"GET {log}": (200, {"Members": [{"@odata.id": f"{log}/SEL"}, {"@odata.id": f"{log}/Dumps"}]}),
        f"GET {log}/SEL": (200, {"Id": "SEL", "Entries": {"@odata.id": entries},
                                 "Actions": {"#LogService.ClearLog": {"target": f"{log}/SEL/Clear"}}}),
        f"GET {log}/Dumps": (200, {"Id": "Dumps", "Actions": dumps}),
        f"POST {log}/SEL/Clear": (204, {}), f"POST {log}/Dumps/Clear": (204, {}),
    }  # fmt: skip
    for page in range(pages):
        members = [{"Id": str(2 * page + n), "Message": f"event {2 * page + n}"} for n in (0, 1)]
        more = {"Members@odata.nextLink": f"{entries}/{page + 1}"} if page + 1 < pages else {}
        fake.paths[f"GET {entries}/{page}" if page else f"GET {entries}"] = (200, {"Members": members, **more})
    return f"POST {log}/SEL/Clear"


def test_a_log_is_shown_to_its_last_page_before_it_is_cleared(fake: type[Fake]) -> None:
    clear = with_log(fake, 120)
    outcome = ask(fake, Verb.SEL)
    assert [row["event"] for row in outcome.rows] == [f"event {n}" for n in range(240)]
    assert (outcome.partial, outcome.warnings) == (False, ())
    assert ask(fake, Verb.SEL_CLEAR).text == "1 logs cleared"  # not the one that shows nothing
    assert [path for path, _ in fake.posts if "Clear" in path] == [clear]


def test_a_log_that_is_not_shown_as_a_whole_is_not_cleared(fake: type[Fake], tmp_path: Path) -> None:
    with_log(fake, 3)
    bmc = f"driver: redfish, address: 127.0.0.1, port: {fake.port}, tls: false, user: a, password: 'env:PW'"  # type: ignore[attr-defined]
    (tmp_path / "rack.yml").write_text(
        f"server: {{address: 10.9.200.1}}\nnodes:\n  n1: {{mac: '52:54:00:00:00:01', bmc: {{{bmc}}}}}\n"
    )
    program = planted("import rackctl.adapters.redfish as redfish; redfish._LOG_ENTRIES = 5")
    program += ["sel", "n1", "--clear"]
    done = run_cli(cwd=tmp_path, env={"PW": "p"}, program=program)
    assert done.returncode == 8, done.stderr
    assert "event 4" in done.stdout and "event 5" not in done.stdout
    assert "warning: a log goes on after what is shown" in done.stdout
    assert "not cleared: its log has more entries than were shown" in done.stdout
    assert [path for path, _ in fake.posts if "Clear" in path] == []


def test_a_log_whose_pages_never_end(fake: type[Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    with_log(fake, 1)
    entries = "/redfish/v1/Systems/1/LogServices/SEL/Entries"
    fake.paths[f"GET {entries}"] = (200, {"Members": [{"Message": "x"}], "Members@odata.nextLink": entries})
    outcome = ask(fake, Verb.SEL)
    assert (len(outcome.rows), outcome.partial) == (1, True)
    monkeypatch.setattr("rackctl.adapters.redfish._LOG_PAGES", 3)
    for page in range(5):
        link = {"Members": [], "Members@odata.nextLink": f"{entries}/{page + 1}"}
        fake.paths[f"GET {entries}/{page}" if page else f"GET {entries}"] = (200, link)
    assert ask(fake, Verb.SEL).partial


def test_accepted_is_not_done(fake: type[Fake]) -> None:
    fake.paths["POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset"] = (204, {})
    outcome = ask(fake, Verb.OFF, wait=0)
    assert (outcome.fault, outcome.state) == (Fault.IGNORED, "on")
    assert fake.posts[-1][1] == {"ResetType": "ForceOff"}


def test_power_cycle_where_there_is_one(fake: type[Fake]) -> None:
    fake.paths["POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset"] = (204, {})
    assert ask(fake, Verb.CYCLE).state == "on"
    assert fake.posts[-1][1] == {"ResetType": "PowerCycle"}
