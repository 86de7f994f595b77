"""Carries orders to BMCs: finds drivers and secrets, runs the drivers side by side, remembers what worked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from rackctl.adapters.bmcprobe import find_driver
from rackctl.adapters.folder import RackFolder
from rackctl.adapters.secrets import Ask, Secrets
from rackctl.adapters.workers import workers
from rackctl.core.model import Rack
from rackctl.core.power import Driver, Fault, Order, Outcome, Verb, Watch, failed, stagger
from rackctl.errors import ConfigError, PowerError, RackError

_MEMORY = "bmc.json"


@dataclass(frozen=True)
class Request:
    """What is asked of several machines alike. stagger: seconds between two; wait: overrides bmc.wait."""

    verb: Verb
    device: str = ""
    persistent: bool = False
    stagger: float = 0.0
    wait: float | None = None


class Power:
    """The BMCs of one rack. report: takes lines on what takes long; ask: prompts for a password, None if it cannot."""

    def __init__(self, folder: RackFolder, rack: Rack, report: Callable[[str], None], ask: Ask | None = None) -> None:
        self.folder = folder
        self.rack = rack
        self.report = report
        self.secrets = Secrets(folder.path, ask)
        self.memory = _Memory(folder)

    def carry_out(self, nodes: Sequence[str], request: Request, watch: Watch) -> tuple[Outcome, ...]:
        """Ask all those machines at once; one Outcome for each, in their order, and watch sees each as it comes.

        Raises RackError when no machine at all could be asked.
        """
        found: dict[str, Outcome] = {}
        lock = threading.Lock()

        def note(outcome: Outcome) -> None:
            with lock:
                found[outcome.node] = outcome
                watch(outcome)

        by_driver = self._sort(self._orders(nodes, request, note), note)
        with workers(max(1, len(by_driver))) as pool:
            runs = {name: pool.submit(self._drive, name, orders, note) for name, orders in by_driver.items()}
            wait(runs.values())
        for name, run in runs.items():
            trouble = run.exception()
            if isinstance(trouble, RackError) and found:
                for order in by_driver[name]:
                    if order.node not in found:
                        note(failed(order, name, Fault.LOCAL, _told(trouble)))
            elif trouble:
                raise trouble
        self.memory.learn(self.rack, found.values())
        return tuple(found[node] for node in nodes)

    def open_console(self, node: str, take: bool, on_output: Callable[[bytes], None]) -> None:
        """Serial over LAN of one machine on this terminal. Raises PowerError when it cannot be opened."""
        from rackctl.adapters.imagebuild import build_image
        from rackctl.adapters.ipmi import open_console

        (status,) = self.carry_out([node], Request(Verb.STATUS), lambda _outcome: None)
        if status.fault or status.driver != "ipmi":
            text = status.text if status.fault else f"its driver is {status.driver}: a console needs ipmi"
            raise PowerError(text, node, status.remedy or "set bmc.driver: ipmi in rack.yml")
        image = build_image("ipmi", self.report)
        self.report(f"console of {node}; Enter ~ . ends it, Enter ~ ? lists what else it can do")
        code = open_console(self.order_for(node, Request(Verb.STATUS)), status.cipher or 3, image, take, on_output)
        if code:
            raise PowerError(
                f"the console ended with {code}", node,
                "--take ends the session of somebody else; is serial over LAN enabled? rackctl bmc check",
            )  # fmt: skip

    def order_for(self, node: str, request: Request) -> Order:
        """The order for one machine, its secrets found. Raises ConfigError."""
        bmc = self.rack.bmc_of(node)
        if bmc is None:
            raise ConfigError("rack.yml has no bmc for it", node, f"add bmc: {{address: ...}} to nodes.{node}")
        if request.wait is not None:
            bmc = bmc.model_copy(update={"wait": request.wait})
        who = f"BMC password of {bmc.user or 'the BMC'}"
        firmware = self.rack.nodes[node].firmware
        order = Order(
            node=node,
            mac=self.rack.nodes[node].mac,
            bmc=bmc,
            verb=request.verb,
            cipher_hint=self.memory.cipher(node, bmc.address),
            device=request.device,
            persistent=request.persistent,
            efi=None if firmware is None else firmware == "uefi",
        )
        if bmc.driver in ("ipmi", "redfish") or bmc.password or (bmc.driver == "auto" and bmc.address):
            order = replace(order, password=self.secrets.find(bmc.password, who))
        if bmc.secureon:
            order = replace(order, secureon=self.secrets.find(bmc.secureon, f"SecureOn password of {node}"))
        return order

    def _orders(self, nodes: Sequence[str], request: Request, note: Watch) -> tuple[Order, ...]:
        orders = []
        for node in nodes:
            try:
                orders.append(self.order_for(node, request))
            except ConfigError as wrong:
                note(Outcome(node, request.verb, text=_told(wrong), fault=Fault.LOCAL))
        return stagger(orders, request.stagger)

    def _sort(self, orders: Sequence[Order], note: Watch) -> dict[str, list[Order]]:
        """The orders by driver; `auto` asks the BMCs, all at once, unless it is known from the last time."""
        names = {order.node: self.memory.driver(order.node, order.bmc.address) or "" for order in orders}
        unknown = [order for order in orders if order.bmc.driver == "auto" and not names[order.node]]
        with workers(64) as pool:
            probes = pool.map(lambda order: (order.node, find_driver(order.bmc)), unknown)
            names.update(probes)
        by_driver: dict[str, list[Order]] = {}
        for order in orders:
            name = order.bmc.driver if order.bmc.driver != "auto" else names[order.node]
            if name:
                by_driver.setdefault(name, []).append(order)
            else:
                note(failed(order, "auto", Fault.UNREACHABLE, "neither Redfish nor IPMI answers"))
        return by_driver

    def _drive(self, name: str, orders: Sequence[Order], note: Watch) -> None:
        # In its thread: where one driver's library is missing, the other drivers' machines are asked all the same.
        self._driver(name).carry_out(orders, note)

    def _driver(self, name: str) -> Driver:
        # Each is imported when it is used: sushy alone takes most of a second.
        if name == "ipmi":
            from rackctl.adapters.ipmi import Ipmi

            return Ipmi(self.report)
        if name == "redfish":
            from rackctl.adapters.redfish import Redfish

            return Redfish(self.folder.path)
        if name == "wol":
            from rackctl.adapters.wol import Wol

            return Wol(self.rack.server.address)
        if name == "lab":
            from rackctl.adapters.labpower import LabPower

            return LabPower(self.folder.project)
        from rackctl.adapters.command import Command

        return Command()


def _told(wrong: RackError) -> str:
    return f"{wrong.message}: {wrong.remedy}" if wrong.remedy else wrong.message


class _Memory:
    """.rackctl/bmc.json: the driver and the cipher suite that worked, for the address that they worked at."""

    def __init__(self, folder: RackFolder) -> None:
        self.file = folder.work / _MEMORY
        self.known: dict[str, dict[str, Any]] = {}
        with suppress(OSError, ValueError):
            found = json.loads(self.file.read_text())
            self.known = {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}

    def _of(self, node: str, address: str | None) -> Mapping[str, Any]:
        entry = self.known.get(node, {})
        return entry if entry.get("address") == address else {}

    def driver(self, node: str, address: str | None) -> str | None:
        name = self._of(node, address).get("driver")
        return name if name in ("ipmi", "redfish", "wol") else None

    def cipher(self, node: str, address: str | None) -> int | None:
        suite = self._of(node, address).get("cipher")
        return suite if suite in (3, 17) else None

    def learn(self, rack: Rack, outcomes: Sequence[Outcome] | Any) -> None:
        fresh = dict(self.known)
        for outcome in outcomes:
            bmc = rack.bmc_of(outcome.node)
            if outcome.ok and bmc and outcome.driver in ("ipmi", "redfish", "wol"):
                entry = {"address": bmc.address, "driver": outcome.driver}
                fresh[outcome.node] = {**entry, **({"cipher": outcome.cipher} if outcome.cipher else {})}
            elif outcome.fault in (Fault.UNREACHABLE, Fault.CIPHER):
                fresh.pop(outcome.node, None)
        if fresh != self.known:
            # Only a memory: where it cannot be written, the next run finds out again.
            with suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                aside = self.file.with_suffix(".part")
                aside.write_text(json.dumps(fresh, indent=1))
                aside.rename(self.file)
            self.known = fresh
