"""Core. What is so (Facts) and what should be (Tree) give the steps between them (Plan), each with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from rackctl.core.tree import Tree

COMPOSE = "compose.yml"


@dataclass(frozen=True)
class Facts:
    """What is so on the master.

    served: id of the tree that is served. damaged: its paths that are absent or differ on the disk. services: service
    -> state. started: sha256 of the compose file that the services were started with, if what they serve was proven.
    """

    served: str | None
    damaged: tuple[str, ...]
    services: Mapping[str, str]
    started: str | None


@dataclass(frozen=True)
class Step:
    """One thing to do. verb: `publish`, `start` or `prove`."""

    verb: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The steps to the wanted state; none when it is reached."""

    tree: str
    steps: tuple[Step, ...]

    def has(self, verb: str) -> bool:
        """Whether a step of this kind is in the plan."""
        return any(step.verb == verb for step in self.steps)

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"tree": self.tree, "steps": [{"verb": step.verb, "reason": step.reason} for step in self.steps]}


def compose_sum(tree: Tree) -> str:
    """sha256 of the tree's compose file: what `Facts.started` is compared with."""
    return hashlib.sha256(tree.files[COMPOSE]).hexdigest()


def make_plan(facts: Facts, tree: Tree, wanted: tuple[str, ...]) -> Plan:
    """wanted: the services that must run. Whatever changes is proven over the wire in the end."""
    steps = []
    if facts.served is None:
        steps.append(Step("publish", "nothing is served yet"))
    elif facts.served != tree.id:
        steps.append(Step("publish", f"tree {facts.served} is served, rack.yml asks for {tree.id}"))
    elif facts.damaged:
        more = f" and {len(facts.damaged) - 1} more" if len(facts.damaged) > 1 else ""
        steps.append(Step("publish", f"{facts.damaged[0]}{more} of the served tree is absent or damaged"))
    idle = [
        f"{name} is {facts.services.get(name, 'absent')}" for name in wanted if facts.services.get(name) != "running"
    ]
    if facts.started != compose_sum(tree):
        steps.append(Step("start", "the services were not started with this compose file"))
    elif idle:
        steps.append(Step("start", ", ".join(idle)))
    if steps:
        steps.append(Step("prove", "something changed"))
    return Plan(tree.id, tuple(steps))
