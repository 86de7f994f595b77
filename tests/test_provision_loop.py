"""The loop of `rackctl provision` over real log files, with a BMC that writes what a machine would cause there."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from rackctl.adapters.folder import RackFolder
from rackctl.core.dhcp.arch import Loader
from rackctl.core.events import Stage
from rackctl.core.load import parse_rack
from rackctl.core.power import Fault, Outcome, Verb
from rackctl.core.provision import Run
from rackctl.core.timeline import SILENCE
from rackctl.errors import EngineError
from rackctl.power import Request
from rackctl.provision import Options, Provision

MASTER = "10.98.0.1"
MACS = {"n1": "52:54:00:00:00:01", "n2": "52:54:00:00:00:02", "n3": "52:54:00:00:00:03"}
RACK = parse_rack(
    f"server: {{address: {MASTER}}}\nnodes:\n"
    + "".join(f"  {n}: {{mac: '{m}', boot: {'local' if n == 'n3' else 'always'}}}\n" for n, m in MACS.items())
)


class Machines:
    """A BMC for each machine. boot: what a start of it writes to the logs, in a thread, like a machine."""

    def __init__(self, folder: RackFolder, boot: Callable[[str, int], None]) -> None:
        self.folder = folder
        self.boot = boot
        self.starts: dict[str, int] = {}
        folder.logs.mkdir(parents=True)
        for name in ("tftp", "http"):
            (folder.logs / f"{name}.jsonl").touch()

    def carry_out(
        self, nodes: Sequence[str], request: Request, watch: Callable[[Outcome], None]
    ) -> tuple[Outcome, ...]:
        found = []
        for number, node in enumerate(nodes):
            if request.verb is Verb.CYCLE:
                time.sleep(request.stagger if number else 0)
                self.starts[node] = self.starts.get(node, 0) + 1
                threading.Thread(target=self.boot, args=(node, self.starts[node])).start()
            found.append(Outcome(node, request.verb, "fake", "on"))
            watch(found[-1])
        return tuple(found)

    def tftp(self, line: str) -> None:
        with open(self.folder.logs / "tftp.jsonl", "a") as out:
            out.write(json.dumps({"t": time.time(), "line": line}) + "\n")

    def dhcp_and_loader(self, node: str, file: str = "undionly.kpxe") -> None:
        self.tftp(f"dnsmasq-dhcp[1]: DHCPACK(eth0) {address(node)} {MACS[node]}")
        self.tftp(f"dnsmasq-tftp[1]: sent /srv/current/tftp/{file} to {address(node)}")

    def get(self, uri: str, ip: str) -> None:
        line = {"end": time.time(), "ip": ip, "port": "1", "m": "GET", "uri": uri, "st": 200, "sent": 5, "len": "5",
                "range": "", "dur": 0.0, "done": "OK", "ua": ""}  # fmt: skip
        with open(self.folder.logs / "http.jsonl", "a") as out:
            out.write(json.dumps(line) + "\n")


def address(node: str) -> str:
    return f"10.98.0.5{node[1:]}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rackctl.core.timeline.SILENCE", {**SILENCE, Stage.LOADER: 1.0})
    monkeypatch.setattr("rackctl.core.provision.SILENCE", {**SILENCE, Stage.POWER: 5.0})


def provision(
    tmp_path: Path, boot: Callable[["Machines", str, int], None], nodes: Sequence[str] = ("n1",), **more: object
) -> tuple[Provision, Machines]:
    folder = RackFolder(tmp_path)
    machines = Machines(folder, lambda node, start: boot(machines, node, start))
    keys = {"note": lambda _line: None, "watch": lambda _run, _timeline: None, **more}
    return Provision(folder, RACK, machines, **keys), machines  # type: ignore[arg-type]


def finish(machines: Machines, node: str) -> None:
    machines.get(f"/boot/{MACS[node].replace(':', '-')}.ipxe?mac={MACS[node]}", address(node))
    machines.get(f"/checkin?mac={MACS[node]}&hostname={node}", address(node))


def come_up(machines: Machines, node: str) -> None:
    """A whole boot, the last lines first: impatience must not meet a thread that is late between two of them."""
    finish(machines, node)
    machines.dhcp_and_loader(node)


@pytest.mark.usefixtures("impatient")
def test_a_loader_that_asks_for_no_script_gives_way_to_the_other(tmp_path: Path) -> None:
    served: list[dict[str, Loader]] = []

    def boot(machines: Machines, node: str, start: int) -> None:
        if start == 1:
            machines.dhcp_and_loader(node)
        elif served:  # else the second start came before its loader
            come_up(machines, node)

    def serve(loaders: Mapping[str, Loader]) -> None:
        served.append(dict(loaders))

    work, machines = provision(tmp_path, boot, serve=serve)
    (ending,), stopped = work.carry_out(["n1"], Options())
    assert (ending.state, ending.tries, ending.loader, stopped) == ("up", 2, "ipxe", False)
    assert served == [{"n1": "ipxe"}]
    assert machines.starts == {"n1": 2}


@pytest.mark.usefixtures("impatient")
def test_where_no_other_loader_can_be_served_the_same_is_tried_again(tmp_path: Path) -> None:
    work, machines = provision(tmp_path, lambda machines, node, _start: machines.dhcp_and_loader(node))
    (ending,), _ = work.carry_out(["n1"], Options())
    assert (ending.state, ending.stage, ending.tries, ending.loader) == ("failed", "script", 2, None)
    assert machines.starts == {"n1": 2}


@pytest.mark.usefixtures("impatient")
def test_a_staggered_machine_is_waited_for_from_its_own_start(tmp_path: Path) -> None:
    def boot(machines: Machines, node: str, _start: int) -> None:
        time.sleep(0.4)
        come_up(machines, node)

    seen: list[tuple[str, tuple[str, ...]]] = []
    work, _ = provision(tmp_path, boot, watch=lambda run, _timeline: seen.append((run.node, run.reached)))
    stagger = 6.5  # longer than a machine may be silent after its power-on
    endings, _ = work.carry_out(["n1", "n2"], Options(stagger=stagger))
    assert [(one.node, one.state) for one in endings] == [("n1", "up"), ("n2", "up")]
    assert max(one.seconds for one in endings) < stagger  # each from its own power-on
    up = next(at for at, (node, reached) in enumerate(seen) if node == "n1" and "checkin" in reached)
    assert up < [node for node, _ in seen].index("n2")  # while n2 still waits


def test_a_machine_that_goes_to_its_own_disk_ends_there(tmp_path: Path) -> None:
    def boot(machines: Machines, node: str, _start: int) -> None:
        machines.dhcp_and_loader(node)
        machines.get(f"/boot/{MACS[node].replace(':', '-')}.ipxe?mac={MACS[node]}", address(node))
        machines.get(f"/checkin?mac={MACS[node]}&state=local", address(node))

    work, _ = provision(tmp_path, boot)
    (ending,), _ = work.carry_out(["n3"], Options())
    assert (ending.state, ending.ok) == ("disk", True)


def test_what_the_master_asks_itself_is_nobodys_boot(tmp_path: Path) -> None:
    def boot(machines: Machines, node: str, _start: int) -> None:
        machines.get(f"/checkin?mac={MACS[node]}", MASTER)
        time.sleep(1)
        machines.dhcp_and_loader(node)
        finish(machines, node)

    work, _ = provision(tmp_path, boot)
    (ending,), _ = work.carry_out(["n1"], Options())
    assert ending.state == "up"
    assert ending.seconds > 0.9


def test_ctrl_c_tells_of_every_machine(tmp_path: Path) -> None:
    def watch(run: Run, _timeline: object) -> None:
        raise KeyboardInterrupt

    work, _ = provision(tmp_path, lambda machines, node, _start: None, watch=watch)
    endings, stopped = work.carry_out(["n1", "n2"], Options(stagger=15.0))
    assert stopped
    assert [(one.node, one.state) for one in endings] == [("n1", "left"), ("n2", "left")]
    assert "may have been told, or not" in endings[1].text


def test_no_more_are_on_their_way_than_asked_for(tmp_path: Path) -> None:
    on_their_way, most = set[str](), []

    def boot(machines: Machines, node: str, _start: int) -> None:
        on_their_way.add(node)
        most.append(len(on_their_way))
        machines.dhcp_and_loader(node)
        time.sleep(0.5)
        on_their_way.remove(node)
        finish(machines, node)

    work, _ = provision(tmp_path, boot)
    endings, _ = work.carry_out(["n1", "n2"], Options(parallel=1))
    assert [one.state for one in endings] == ["up", "up"]
    assert most == [1, 1]
    work, _ = provision(tmp_path / "again", boot)
    work.carry_out(["n1", "n2"], Options())
    assert max(most) == 2


def test_a_bmc_that_refuses_ends_its_machine_alone(tmp_path: Path) -> None:
    def boot(machines: Machines, node: str, _start: int) -> None:
        machines.dhcp_and_loader(node)
        finish(machines, node)

    work, machines = provision(tmp_path, boot)
    whole = machines.carry_out

    def refusing(nodes: Sequence[str], request: Request, watch: Callable[[Outcome], None]) -> tuple[Outcome, ...]:
        found = whole([node for node in nodes if node != "n2" or request.verb is Verb.STATUS], request, watch)
        if "n2" in nodes and request.verb is not Verb.STATUS:
            watch(refused := Outcome("n2", request.verb, "fake", text="no", fault=Fault.REFUSED))
            return (*found, refused)
        return found

    machines.carry_out = refusing  # type: ignore[method-assign]
    endings, _ = work.carry_out(["n1", "n2"], Options())
    assert [(one.state, one.stage) for one in endings] == [("up", ""), ("failed", "power-on")]


def test_a_start_that_breaks_ends_its_machines_and_the_others_are_followed(tmp_path: Path) -> None:
    work, machines = provision(tmp_path, lambda machines, node, _start: come_up(machines, node))
    whole = machines.carry_out

    def breaking(nodes: Sequence[str], request: Request, watch: Callable[[Outcome], None]) -> tuple[Outcome, ...]:
        if request.verb is not Verb.CYCLE:
            return whole(nodes, request, watch)
        whole(nodes[:1], request, watch)
        raise EngineError("the engine is gone", remedy="start it")

    machines.carry_out = breaking  # type: ignore[method-assign]
    endings, stopped = work.carry_out(["n1", "n2"], Options())
    assert not stopped
    assert [(one.node, one.state) for one in endings] == [("n1", "up"), ("n2", "failed")]
    assert (endings[1].stage, endings[1].text, endings[1].remedy) == ("power-on", "the engine is gone", "start it")
