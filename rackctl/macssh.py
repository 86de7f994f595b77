"""Blesses Macs over SSH, all at once: asks each what it is, decides, and does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from rackctl.adapters.ssh import run_remote, sudo_line
from rackctl.adapters.workers import workers
from rackctl.core.bless import GATHER, Via, parse_facts, plan_bless
from rackctl.core.model import Rack
from rackctl.errors import BootError, RackError


@dataclass(frozen=True)
class Order:
    """What is done on every Mac alike. password: sudo's, empty if it asks for none; config: ssh's configuration."""

    via: Via
    nextonly: bool = False
    undo: bool = False
    password: str = ""
    config: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one Mac. error: empty when it was done; said: what `bless` printed. Text of the Mac's is raw."""

    ok: bool
    did: str = ""
    said: str = ""
    notes: tuple[str, ...] = ()
    error: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, object]:
        """A JSON object; what is empty is left out."""
        return {key: value for key, value in asdict(self).items() if key == "ok" or value}


def bless_all(
    rack: Rack, names: Sequence[str], order: Order, parallel: int, watch: Callable[[str, Outcome], None]
) -> dict[str, Outcome]:
    """One Outcome for each name, in their order; watch sees each as it comes. parallel: how many Macs at once."""
    found: dict[str, Outcome] = {}
    with workers(parallel) as pool:
        runs = {pool.submit(bless_one, rack, name, order): name for name in names}
        for run in as_completed(runs):
            found[runs[run]] = run.result()
            watch(runs[run], found[runs[run]])
    return {name: found[name] for name in names}


def bless_one(rack: Rack, name: str, order: Order) -> Outcome:
    """What goes wrong is an answer too, and nothing is changed where SIP stands in the way: the others go on."""
    node = rack.nodes[name]
    login = node.ssh or name
    stdin = f"{order.password}\n".encode() if order.password else None
    try:
        facts = parse_facts(run_remote(login, GATHER, config=order.config))
        plan = plan_bless(rack, node, facts, order.via, nextonly=order.nextonly)
        if plan.refusal:
            raise BootError(plan.refusal)
        if plan.blocked and not order.undo:
            raise BootError("System Integrity Protection is on", remedy=f"once, in Recovery: {plan.recovery[0]}")
        said = []
        for argv in plan.undo if order.undo else plan.commands:
            line = sudo_line(argv, password=bool(order.password))
            said.append(run_remote(login, line, config=order.config, stdin=stdin))
    except RackError as wrong:
        wants_password = "password" in wrong.message and not order.password
        remedy = "--ask-password asks once for sudo's" if wants_password else wrong.remedy
        return Outcome(ok=False, error=wrong.message, remedy=remedy)
    did = "undone" if order.undo else "blessed"
    return Outcome(ok=True, did=did, said="".join(said).strip(), notes=() if order.undo else plan.notes)
