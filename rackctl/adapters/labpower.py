"""Adapter: the driver `lab`: a machine of the virtual rack without its BMC, by the script that its BMC calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from rackctl.adapters.labrack import bmcs_name
from rackctl.adapters.proc import run
from rackctl.adapters.stepping import run_orders
from rackctl.core.power import BmcFault, Fault, Order, Outcome, Verb, Watch
from rackctl.errors import PowerError

_DEVICES = {"pxe": "pxe", "disk": "default", "bios": "bios"}
_CYCLE_PAUSE = 1.0
_LONGEST = 30.0  # seconds: `docker exec` on a busy master, and the machine's end


class LabPower:
    """The driver `lab`. project: whose virtual rack it is."""

    def __init__(self, project: str) -> None:
        self.project = project

    def carry_out(self, orders: Sequence[Order], watch: Watch) -> None:
        """See Driver."""
        run_orders("lab", orders, partial(_Machine, bmcs_name(self.project)), watch)


class _Machine:
    def __init__(self, container: str, order: Order) -> None:
        self.container = container
        self.order = order

    def close(self) -> None:
        pass

    def _ask(self, *words: str) -> str:
        argv = ["docker", "exec", self.container, "chassis.sh", f"/bmcs/{self.order.node}", *words]
        try:
            return run(argv, timeout=max(self.order.bmc.timeout, _LONGEST), error=PowerError).decode()
        except PowerError as wrong:
            if "No such container" in wrong.message:
                raise BmcFault(Fault.UNREACHABLE, "the virtual rack is not up: rackctl lab up --nodes N") from wrong
            raise BmcFault(Fault.REFUSED, wrong.message) from wrong

    def read_state(self) -> str:
        return {"power:1": "on", "power:0": "off"}.get(self._ask("get", "power").strip(), "")

    def send(self, verb: Verb) -> tuple[str, ...]:
        if verb in (Verb.OFF, Verb.CYCLE):
            self._ask("set", "power", "0")
        if verb is Verb.CYCLE:
            time.sleep(_CYCLE_PAUSE)
        if verb in (Verb.ON, Verb.CYCLE):
            self._ask("set", "power", "1")
        if verb is Verb.SOFT:
            self._ask("set", "shutdown", "1")
        if verb is Verb.RESET:
            self._ask("set", "reset", "1")
        return ()

    def read(self, order: Order) -> Outcome:
        if order.verb is Verb.BOOTDEV:
            wanted = _DEVICES[order.device]
            self._ask("set", "boot", wanted)
            found = self._ask("get", "boot").strip()
            if found != f"boot:{wanted}":
                raise BmcFault(Fault.IGNORED, f"asked for {order.device}, it says {found}")
            return Outcome(order.node, order.verb, text=order.device)
        if order.verb is Verb.CHECK:
            return Outcome(order.node, order.verb, state=self.read_state(), text="the virtual rack answers")
        raise BmcFault(Fault.UNSUPPORTED, f"a virtual machine without its BMC has no {order.verb.value}")
