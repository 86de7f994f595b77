"""Carrying out a plan: what was not proven over the wire does not count as done."""

from pathlib import Path

import pytest

from rackctl import apply
from rackctl.adapters.folder import RackFolder
from rackctl.core.load import parse_rack
from rackctl.core.plan import Facts, compose_sum, make_plan
from rackctl.core.tree import Tree
from rackctl.errors import ServeError


def test_a_failed_proof_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rack = RackFolder(tmp_path), parse_rack("server: {address: 127.0.0.1}")
    running = {"tftp": "running", "microhttp": "running"}
    old, new = (Tree({"compose.yml": b"name: one", "http/a": text}) for text in (b"old", b"new"))
    folder.publish(old, {})
    folder.started = compose_sum(old)
    plan = make_plan(Facts(old.id, (), running, folder.started), new, tuple(running))
    assert plan.has("publish") and not plan.has("start")

    def refuse(*_: object) -> None:
        raise ServeError("no answer")

    monkeypatch.setattr(apply, "_prove", refuse)
    with pytest.raises(ServeError):
        apply.apply_plan(folder, rack, plan, new, {}, print)
    again = make_plan(Facts(folder.served_id(), (), running, folder.started), new, tuple(running))
    assert again.has("prove")
