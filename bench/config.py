"""Renders and lints racks of 100, 1,000 and 10,000 nodes: python bench/config.py [--json]. CPU seconds, best of three.

parse: rack.yml to a Rack. render: scripts and configs, with sources, a template and a join. lint: what `up` checks.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from rackctl.core.catalog import Catalog
from rackctl.core.config.sources import Inputs
from rackctl.core.lint.run import stop_on_errors
from rackctl.core.load import parse_rack
from rackctl.core.model import Rack
from rackctl.core.render import render_rack
from rackctl.core.tree import Tree

SIZES = (100, 1_000, 10_000)
LIMIT = 2.0  # seconds for rendering and linting 1,000 nodes
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0rAHXRQx9eXTmXdPvLRdC8eGGw9ODmoLQ3ajwrzwSv me@here"
TEXTS = {
    "base.yml": "rancher:\n  sysctl: {net.ipv4.ip_forward: 1}\n  docker: {live_restore: true}\nruncmd: [echo hello]\n",
    "motd.yml.j2": "write_files:\n- path: /etc/motd\n  content: |\n    {{ node.name if node else 'unknown' }}\n",
}
HEAD = f"""\
server: {{address: 10.0.0.1}}
os: {{name: rancheros, version: v1.5.8}}
ssh_authorized_keys: ["{KEY}"]
config: [base.yml, motd.yml.j2]
join: {{kind: k3s, server: https://10.0.0.1, token: token, version: v1.17.17-k3s1}}
nodes:
"""
IMAGES = {"tftp": "tftp:0", "microhttp": "microhttp:0"}
T = TypeVar("T")


def rack_text(nodes: int) -> str:
    macs = (f"52:54:{n >> 24 & 255:02x}:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(nodes))
    return HEAD + "".join(f'  node{n}: {{mac: "{mac}"}}\n' for n, mac in enumerate(macs))


def timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.process_time()
    done = work()
    return time.process_time() - start, done


def measure(nodes: int, rounds: int = 3) -> dict[str, float]:
    text = rack_text(nodes)
    best: dict[str, float] = {}
    for _ in range(rounds if nodes <= 1_000 else 1):
        inputs, catalog = Inputs(TEXTS, {"token": "K10abc::node:pw"}, {}, text), Catalog()
        parse, rack = timed(lambda text=text: parse_rack(text))

        def render(rack: Rack = rack, catalog: Catalog = catalog, inputs: Inputs = inputs) -> Tree:
            return render_rack(rack, {}, {}, "bench", IMAGES, catalog, inputs)

        rendered, tree = timed(render)

        def lint(rack: Rack = rack, catalog: Catalog = catalog, inputs: Inputs = inputs, tree: Tree = tree) -> None:
            stop_on_errors(rack, inputs, catalog, tree, print)

        linted, _ = timed(lint)
        for name, seconds in (("parse", parse), ("render", rendered), ("lint", linted)):
            best[name] = min(seconds, best.get(name, seconds))
    return best


def main() -> int:
    found = {nodes: measure(nodes) for nodes in SIZES}
    if "--json" in sys.argv:
        print(json.dumps(found))
    else:
        print(f"{'nodes':>7} {'parse':>8} {'render':>8} {'lint':>8}   render + lint, ms per node")
        for nodes, best in found.items():
            both = (best["render"] + best["lint"]) / nodes * 1000
            print(f"{nodes:>7} {best['parse']:>7.2f}s {best['render']:>7.2f}s {best['lint']:>7.2f}s   {both:.2f}")
    thousand = found[1_000]
    return 0 if thousand["render"] + thousand["lint"] < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
