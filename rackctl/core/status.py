"""Core. What the status page shows, as one JSON object, and the same for Prometheus. Bounded whatever machines do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rackctl.core.diagnosis import Context, diagnose
from rackctl.core.events import Stage
from rackctl.core.fold import stage_name
from rackctl.core.inventory import Inventory
from rackctl.core.repeat import find_repeat
from rackctl.core.timeline import Timeline, end_at
from rackctl.core.usual import compare, find_usual

FORMAT = 1
MAX_UNKNOWN = 300  # machines that are not in rack.yml, the last seen first
HISTORY = 20
VERDICTS = ("done", "loaded", "running", "stuck", "never")


@dataclass(frozen=True)
class Known:
    """What is known beside the logs. names: MAC -> name in rack.yml; unknown: rack.yml's word for the others;
    server: the master's address, whose own requests (`rackctl up` reads back all it serves) are no machine's; silent:
    OS that cannot check in -> the last stage that it tells of without a config; configured and findings: the machines,
    as in URLs, whose silent OS gets a config, and the linter's view of what each is served, a line each.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    unknown: str = "discover"
    port: int = 83
    server: str = ""
    silent: Mapping[str, Stage] = field(default_factory=dict)
    configured: Collection[str] = ()
    findings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    inventories: Mapping[str, Inventory] = field(default_factory=dict)
    installed: frozenset[str] = frozenset()

    def settle(self, timeline: Timeline) -> Timeline:
        """The same, or `loaded` once it came as far as its system tells."""
        goal = self.silent.get(timeline.os)
        if goal is None:
            return timeline
        return end_at(timeline, max(goal, Stage.CONFIG) if self._key(timeline.mac) in self.configured else goal)

    def context(self, mac: str | None) -> Context:
        """What a diagnosis of this machine may know beyond the logs."""
        inventory = self.inventories.get(mac) if mac else None
        return Context(inventory, self.findings.get(self._key(mac), ()), self.port)

    def _key(self, mac: str | None) -> str:
        return mac.replace(":", "-") if mac and mac in self.names else "default"


def make_status(
    timelines: Sequence[Timeline], known: Known, now: float, *, live: bool, forgotten: int = 0, strange_lines: int = 0
) -> dict[str, object]:
    """live: somebody keeps it up to date. forgotten: boots that the fold let go; strange_lines: nobody could read."""
    boots: dict[str, list[Timeline]] = {mac: [] for mac in known.names}
    for timeline in timelines:
        who = timeline.mac or timeline.ip
        if who and (who in known.names or known.unknown != "ignore"):
            boots.setdefault(who, []).append(timeline)
    for mac in known.inventories:
        if known.unknown != "ignore":
            boots.setdefault(mac, [])
    others = sorted((who for who in boots if who not in known.names), key=lambda who: _seen(boots[who]), reverse=True)
    shown = [*known.names, *others[:MAX_UNKNOWN]]
    nodes = [make_node(who, boots[who], known) for who in shown]
    counts = {verdict: sum(node["verdict"] == verdict for node in nodes) for verdict in VERDICTS}
    return {
        "format": FORMAT, "time": round(now, 3), "live": live, "counts": counts, "nodes": nodes,
        "left_out": len(others) - len(others[:MAX_UNKNOWN]), "forgotten": forgotten, "strange_lines": strange_lines,
    }  # fmt: skip


def _seen(boots: Sequence[Timeline]) -> float:
    return max((boot.started for boot in boots), default=0.0)


def make_node(who: str, boots: Sequence[Timeline], known: Known) -> dict[str, object]:
    """One machine as the page and `--on-checkin` have it. who: its MAC, or its address; boots: the earliest first."""
    inventory = known.inventories.get(who)
    node: dict[str, object] = {
        "mac": who, "name": known.names.get(who, ""), "known": who in known.names, "verdict": "never",
        "installed": who in known.installed, "inventory": inventory.summary if inventory else "",
    }  # fmt: skip
    if not boots:
        return node
    last, earlier = boots[-1], boots[:-1]
    usual = find_usual(earlier)
    context = known.context(who)
    repeat = find_repeat(boots, context)
    problems = (*([repeat] if repeat else []), *diagnose(last, context))
    return node | {
        "verdict": last.verdict, "ip": last.ip, "hostname": last.hostname, "os": last.os, "firmware": last.firmware,
        "state": last.state, "started": round(last.started, 3), "seconds": round(last.seconds, 2),
        "missing": "" if last.missing is None else stage_name(last.missing),
        "problems": [problem.to_json() for problem in problems],
        "stages": [
            {"name": stage.name, "from": round(max(0.0, stage.start - last.started), 2),
             "to": round(max(0.0, stage.end - last.started), 2), "bytes": stage.nbytes, "ok": stage.ok}
            for stage in last.stages
        ],
        "history": [round(one.seconds, 1) if one.good else None for one in boots[-HISTORY:]],
        "usual": usual.to_json() if usual else None,
        "compared": compare(last, usual) if usual else [],
    }  # fmt: skip


def render_metrics(status: Mapping[str, object], events: Mapping[Stage, int]) -> str:
    """Prometheus' text format 0.0.4. Labels hold names and MACs of rack.yml alone: machines that lie add no series."""
    nodes = status["nodes"]
    counts = status["counts"]
    assert isinstance(nodes, list) and isinstance(counts, dict)  # noqa: S101 make_status wrote them
    lines = ["# HELP rackctl_nodes Machines by the verdict on their last boot.", "# TYPE rackctl_nodes gauge"]
    lines += [f'rackctl_nodes{{verdict="{verdict}"}} {count}' for verdict, count in counts.items()]
    lines += ["# HELP rackctl_events_total Events read from the logs.", "# TYPE rackctl_events_total counter"]
    lines += [f'rackctl_events_total{{stage="{stage_name(stage)}"}} {count}' for stage, count in sorted(events.items())]
    lines += ["# HELP rackctl_strange_lines_total Log lines that no parser knows."]
    lines += ["# TYPE rackctl_strange_lines_total counter"]
    lines += [f"rackctl_strange_lines_total {status['strange_lines']}"]
    lines += ["# HELP rackctl_boot_seconds The last boot, from its start to the check-in or so far.",
              "# TYPE rackctl_boot_seconds gauge"]  # fmt: skip
    known = [node for node in nodes if node["known"] and "seconds" in node]
    lines += [f"rackctl_boot_seconds{_labels(node)} {node['seconds']}" for node in known]
    lines += [
        "# HELP rackctl_boot_up Whether the last boot came up, or as far as its system tells.",
        "# TYPE rackctl_boot_up gauge",
    ]
    lines += [f"rackctl_boot_up{_labels(node)} {int(node['verdict'] in ('done', 'loaded'))}" for node in known]
    lines += ["# HELP rackctl_boot_start_time_seconds When the last boot began.",
              "# TYPE rackctl_boot_start_time_seconds gauge"]  # fmt: skip
    lines += [f"rackctl_boot_start_time_seconds{_labels(node)} {node['started']}" for node in known]
    return "\n".join([*lines, ""])


def _labels(node: Mapping[str, object]) -> str:
    return f'{{node="{node["name"]}",mac="{node["mac"]}"}}'
