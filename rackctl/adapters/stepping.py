"""Adapter: drivers that hold one thread per machine, and the waiting that they share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from rackctl.adapters.workers import workers
from rackctl.core.power import GOAL, BmcFault, Fault, Order, Outcome, Verb, Watch

_PARALLEL = 32
_POLL = 1.0
_SETTLE = 2.0  # seconds in which a machine that is cycled may still count as on


class Machine(Protocol):
    """What such a driver can do with one machine. Each method raises BmcFault."""

    def read_state(self) -> str:
        """`on`, `off`, or empty when it cannot be told."""

    def send(self, verb: Verb) -> tuple[str, ...]:
        """Begin a change of power; returns warnings."""

    def read(self, order: Order) -> Outcome:
        """Carry out a verb that does not change the power."""

    def close(self) -> None:
        """The end of the order; raises nothing."""


def run_orders(driver: str, orders: Sequence[Order], connect: Callable[[Order], Machine], watch: Watch) -> None:
    """Every order in a thread of its own; watch is called from those threads, never two at a time by one of them."""

    def one(order: Order) -> None:
        time.sleep(order.delay)
        started = time.monotonic()
        try:
            with contextlib.closing(connect(order)) as machine:
                outcome = _carry_out(machine, order)
        except BmcFault as fault:
            outcome = Outcome(order.node, order.verb, text=fault.text, fault=fault.fault)
        watch(replace(outcome, driver=driver, seconds=time.monotonic() - started))

    with workers(_PARALLEL) as pool:
        for done in [pool.submit(one, order) for order in orders]:
            done.result()


def _carry_out(machine: Machine, order: Order) -> Outcome:
    verb = order.verb
    if verb is Verb.STATUS:
        if state := machine.read_state():
            return Outcome(order.node, verb, state=state)
        raise BmcFault(Fault.UNSUPPORTED, "it does not tell its state")
    if verb not in GOAL:
        return machine.read(order)
    goal, before = GOAL[verb], machine.read_state()
    if before == goal and verb in (Verb.ON, Verb.OFF, Verb.SOFT):
        return Outcome(order.node, verb, state=before, text=f"already {before}")
    if before == "off" and verb is Verb.RESET:
        raise BmcFault(Fault.REFUSED, "the machine is off: power on starts it")
    warnings: tuple[str, ...] = ()
    if before == "off" and verb is Verb.CYCLE:
        verb, warnings = Verb.ON, ("it was off: switched on instead of cycled",)
    try:
        warnings += machine.send(verb)
    except BmcFault as fault:
        # It may have acted: only the state tells, and nothing is sent again.
        if fault.fault is not Fault.TIMEOUT or verb in (Verb.CYCLE, Verb.RESET) or _state_now(machine) != goal:
            raise
        warnings += (f"no answer to {verb.value} within {order.bmc.timeout:g} s, but it is {goal}",)
        return Outcome(order.node, order.verb, state=goal, warnings=warnings)
    if not before:
        return Outcome(order.node, order.verb, state="sent", warnings=warnings)
    if verb in (Verb.CYCLE, Verb.RESET):
        time.sleep(_SETTLE)
    return replace(_await(machine, order, goal), warnings=warnings)


def _state_now(machine: Machine) -> str:
    with contextlib.suppress(BmcFault):
        return machine.read_state()
    return ""


def _await(machine: Machine, order: Order, goal: str) -> Outcome:
    """Accepted is not done, and a BMC may restart meanwhile: only the time limit ends this."""
    limit, state, trouble = time.monotonic() + order.bmc.wait, "", None
    while True:
        try:
            state, trouble = machine.read_state(), None
        except BmcFault as fault:
            if fault.fault not in (Fault.UNREACHABLE, Fault.TIMEOUT, Fault.BUSY):
                raise
            trouble = fault
        if state == goal and trouble is None:
            return Outcome(order.node, order.verb, state=goal)
        if time.monotonic() >= limit:
            if trouble:
                raise trouble
            text = f"still {state or 'unknown'} after {order.bmc.wait:g} s"
            return Outcome(order.node, order.verb, state=state, text=text, fault=Fault.IGNORED)
        time.sleep(min(_POLL, max(0.05, limit - time.monotonic())))
