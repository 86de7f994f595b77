"""Adapter: the driver `command`: any program of the user's, for smart plugs, power strips and what has no BMC."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from rackctl.adapters.proc import CANNOT_START, run
from rackctl.adapters.stepping import run_orders
from rackctl.core.power import BmcFault, Fault, Order, Outcome, Verb, Watch
from rackctl.errors import PowerError

_OFF_PAUSE = 5.0  # seconds without power, so that a power supply's capacitors are empty
_STATE = re.compile(r"\b(on|off)\b", re.IGNORECASE)


class Command:
    """The driver `command`."""

    def carry_out(self, orders: Sequence[Order], watch: Watch) -> None:
        """See Driver."""
        run_orders("command", orders, _Machine, watch)


class _Machine:
    def __init__(self, order: Order) -> None:
        self.order = order

    def _run(self, words: tuple[str, ...]) -> str:
        order = self.order
        place = {"{node}": order.node, "{mac}": order.mac, "{device}": order.device}
        argv = [re.sub(r"\{(?:node|mac|device)\}", lambda found: place[found[0]], word) for word in words]
        # The secret goes to the program's stdin: argv and environment can be read by others.
        secret = None if order.password is None else f"{order.password}\n".encode()
        try:
            return run(argv, stdin=secret, timeout=order.bmc.timeout, error=PowerError).decode(errors="replace")
        except PowerError as wrong:
            if "did not end within" in wrong.message:
                raise BmcFault(Fault.TIMEOUT, wrong.message) from wrong
            if "is not installed" in wrong.message or CANNOT_START in wrong.message:
                raise BmcFault(Fault.LOCAL, f"{wrong.message}: {wrong.remedy}") from wrong
            raise BmcFault(Fault.REFUSED, wrong.message) from wrong

    def close(self) -> None:
        pass

    def read_state(self) -> str:
        if self.order.bmc.status is None:
            return ""
        out = self._run(self.order.bmc.status)
        found = _STATE.search(out)
        if not found:
            raise BmcFault(Fault.REFUSED, f"its status command said neither on nor off: {out.strip()[:80]!r}")
        return found[1].lower()

    def send(self, verb: Verb) -> tuple[str, ...]:
        bmc = self.order.bmc
        words = getattr(bmc, verb.value)
        if words is not None:
            self._run(words)
        elif verb is Verb.CYCLE and bmc.on and bmc.off:
            self._run(bmc.off)
            time.sleep(_OFF_PAUSE)
            self._run(bmc.on)
        else:
            raise BmcFault(Fault.UNSUPPORTED, f"bmc.{verb.value} is not set")
        return ()

    def read(self, order: Order) -> Outcome:
        if order.verb is Verb.BOOTDEV and order.bmc.bootdev:
            self._run(order.bmc.bootdev)
            return Outcome(
                order.node, order.verb, text=order.device, warnings=("a command's boot device is not read back",)
            )
        if order.verb is Verb.CHECK:
            return Outcome(order.node, order.verb, state=self.read_state(), text="the status command works")
        raise BmcFault(Fault.UNSUPPORTED, f"a command driver has no {order.verb.value}")
