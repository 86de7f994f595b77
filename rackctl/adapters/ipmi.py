"""Adapter: IPMI. One container with ipmitool in it for a whole batch of BMCs; the dialogues decide what it runs."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rackctl.adapters.imagebuild import build_image, image_tag
from rackctl.adapters.proc import Pipes, attach, run, talking
from rackctl.core.ipmi import Call, Dialogue, check_order, hold_dialogue
from rackctl.core.ipmi_text import Reply
from rackctl.core.power import Fault, Order, Outcome, Watch, failed
from rackctl.errors import ConfigError, EngineError, RackError

PARALLEL = 64  # ipmitool processes at a time; each takes about 5 MB and waits for its BMC most of the time
_PORT = 623  # ASF RMCP, IPMI 2.0 section 13.1.2
_NO_IMAGE = 125  # docker's exit code when it could not start the container at all
_REMEDY = "docker version tells whether the engine answers"


def container(image: str, entry: Sequence[str] = ()) -> list[str]:
    """The docker command. Its network is the host's: BMCs sit on networks that the master reaches and no bridge does.

    Nothing secret is in it, and what it prints is not logged by the engine.
    """
    name = f"rackctl-ipmi-{uuid.uuid4().hex[:12]}"
    limits = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "512m"]
    labels = ["--label", "org.rackctl.role=ipmi", "--pids-limit", "256", "--log-driver", "none", "--pull", "never"]
    entrypoint = ["--entrypoint", entry[0]] if entry else []
    return ["docker", "run", "--rm", "-i", "--name", name, "--network", "host", *limits, *labels, *entrypoint,
            image, *entry[1:]]  # fmt: skip


def login_words(order: Order, cipher: int) -> list[str]:
    """ipmitool's options for one BMC, all but the password."""
    bmc = order.bmc
    words = ["-I", "lanplus", "-H", bmc.address or "", "-p", str(bmc.port or _PORT), "-L", bmc.privilege]
    return [*words, "-C", str(cipher), *(["-U", bmc.user] if bmc.user else [])]


class Ipmi:
    """The driver `ipmi`. report: takes a line when the image has to be built first."""

    def __init__(self, report: Callable[[str], None], parallel: int = PARALLEL) -> None:
        self.report = report
        self.parallel = parallel

    def carry_out(self, orders: Sequence[Order], watch: Watch) -> None:
        """See Driver. Raises EngineError when the container cannot be run."""
        good = []
        for order in orders:
            try:
                check_order(order)
                good.append(order)
            except ConfigError as wrong:
                watch(failed(order, "ipmi", Fault.LOCAL, wrong.message))
        if not good:
            return
        try:
            _Batch(good, watch, self.parallel).run(image_tag("ipmi"))
        except _NoImage:
            _Batch(good, watch, self.parallel).run(build_image("ipmi", self.report))


def open_console(order: Order, cipher: int, image: str, take: bool, on_output: Callable[[bytes], None]) -> int:
    """Serial over LAN on this terminal until its user ends it with `~.`; returns ipmitool's exit code.

    image: that of compose/ipmi; take: end another one's session first. Raises ConfigError and EngineError.
    """
    check_order(order)
    words = login_words(order, cipher)
    argv = container(image, ["/usr/local/bin/console.sh", "take" if take else "ask", *words])
    try:
        return attach(argv, f"{order.password}\n".encode(), on_output, b"\r~.")
    finally:
        _remove(argv[argv.index("--name") + 1])


class _NoImage(EngineError):
    pass


class _Batch:
    """All dialogues of one container."""

    def __init__(self, orders: Sequence[Order], watch: Watch, parallel: int) -> None:
        self.watch = watch
        self.parallel = parallel
        self.orders = {str(number): order for number, order in enumerate(orders)}
        self.open: dict[str, Dialogue] = {}

    def run(self, image: str) -> None:
        argv = container(image)
        ended = False
        try:
            with talking(argv) as pipes:
                with contextlib.suppress(BrokenPipeError):
                    self._hold(pipes)
                if self.open:
                    raise _lost(pipes)
            ended = True
        finally:
            if not ended:
                _remove(argv[argv.index("--name") + 1])

    def _hold(self, pipes: Pipes) -> None:
        pipes.stdin.write(f"parallel {self.parallel}\n".encode())
        for key, order in self.orders.items():
            self.open[key] = hold_dialogue(order)
            self._send(pipes, key, next(self.open[key]))
        pipes.stdin.flush()
        for key, reply in _replies(pipes):
            try:
                self._send(pipes, key, self.open[key].send(reply))
                pipes.stdin.flush()
            except StopIteration as end:
                del self.open[key]
                self.watch(_checked(end.value))
            if not self.open:
                pipes.stdin.write(b"end\n")
                pipes.stdin.flush()
                return

    def _send(self, pipes: Pipes, key: str, call: Call) -> None:
        order = self.orders[key]
        # -N and -R: three tries two seconds apart; the runner's deadline is what counts.
        words = ["ipmitool", *login_words(order, call.cipher), "-E", "-N", "2", "-R", "3"]
        words += [*(["-v"] if call.verbose else []), *call.words]
        secret = (order.password or "").encode()
        fields = " ".join("x" + word.hex() for word in (secret, *(word.encode() for word in words)))
        pipes.stdin.write(f"run {key} {call.after:.3f} {call.timeout:g} {int(call.names)} {fields}\n".encode())


def _replies(pipes: Pipes) -> Iterator[tuple[str, Reply]]:
    for line in pipes.stdout:
        found: dict[str, Any] = json.loads(line)
        # The runner writes each byte as the character of the same number.
        out, err = (found[name].encode("latin-1").decode(errors="replace") for name in ("out", "err"))
        yield found["id"], Reply(found["rc"], out, err, found["seconds"], found["late"])


def _checked(outcome: object) -> Outcome:
    assert isinstance(outcome, Outcome)  # noqa: S101 what a Dialogue returns
    return outcome


def _lost(pipes: Pipes) -> RackError:
    code = pipes.wait(20)
    complaint = pipes.complaint()
    if code == _NO_IMAGE and ("No such image" in complaint or "Unable to find image" in complaint):
        return _NoImage(complaint)
    return EngineError(f"the ipmi container ended ({code}) before its work was done: {complaint}", remedy=_REMEDY)


def _remove(name: str) -> None:
    """A docker client that is killed leaves its container running: it is removed by name."""
    try:
        run(["docker", "rm", "-f", name], timeout=20)
    except RackError:
        return  # it never started, or --rm was quicker
