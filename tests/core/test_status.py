"""What is known of a machine beside its logs: how far its system tells, and what the linter says of its config."""

import json

import pytest

from rackctl.core.catalog import Catalog
from rackctl.core.config.sources import Inputs
from rackctl.core.diagnosis import explain
from rackctl.core.events import Event, Stage
from rackctl.core.lint.run import stop_on_errors
from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack
from rackctl.core.repeat import find_repeat
from rackctl.core.status import Known, make_status, render_metrics
from rackctl.core.statustree import add_findings
from rackctl.core.timeline import fold_events
from rackctl.core.usual import find_usual
from rackctl.follow import read_known

MAC, OTHER, IP = "52:54:00:12:34:56", "52:54:00:12:34:57", "10.98.0.50"
KEY = MAC.replace(":", "-")
TALOS = {"silent": {"talos": Stage.INITRD}, "configured": [KEY], "names": {MAC: "n1", OTHER: "n2"}}


def boot(*stages, os="talos", start=1000.0, now=5000.0, failed=None, mac=MAC):
    """Each a second after the other, then silence."""
    uri = {Stage.KERNEL: f"/os/{os}/v1/vmlinuz", Stage.INITRD: f"/os/{os}/v1/initrd"}
    made = [Event(start + n, stage, mac, IP, stage is not failed,
                  {"uri": uri.get(stage, "/x"), **({"problem": "status"} if stage is failed else {})})
            for n, stage in enumerate(stages)]  # fmt: skip
    return fold_events(made, now)[-1]


LOADED = (Stage.SCRIPT, Stage.KERNEL, Stage.INITRD)


@pytest.mark.parametrize(("known", "timeline", "verdict"), [
    (TALOS, boot(*LOADED, Stage.CONFIG), "loaded"),
    (TALOS, boot(*LOADED, Stage.CONFIG, now=1004.0), "loaded"),  # at once, not after a silence
    (TALOS, boot(*LOADED), "stuck"),  # its config is served, and it asked for none
    (TALOS, boot(*LOADED, mac=OTHER), "loaded"),  # Talos without a config waits for talosctl
    (TALOS, boot(*LOADED, Stage.CONFIG, failed=Stage.CONFIG), "stuck"),
    (TALOS, boot(*LOADED, Stage.CONFIG, os="debian"), "stuck"),  # its boot before it became a Talos node
    (TALOS, boot(*LOADED, Stage.CONFIG, Stage.CHECKIN), "done"),
    (TALOS, boot(Stage.SCRIPT), "stuck"),
    ({"silent": {"memtest86+": Stage.KERNEL}}, boot(Stage.SCRIPT, Stage.KERNEL, os="memtest86+"), "loaded"),
    ({}, boot(*LOADED, Stage.CONFIG), "stuck"),
])  # fmt: skip
def test_a_boot_ends_with_the_last_that_its_system_tells(known, timeline, verdict):
    found = Known(**known).settle(timeline)
    assert found.verdict == verdict
    assert (found.missing is None) == (found.reason == "") == (verdict != "stuck")
    assert ("its system tells no more" in explain(found)) == (verdict == "loaded")


def test_a_loaded_boot_is_shown_as_one_and_is_a_usual_one():
    known = Known(**TALOS)
    boots = [known.settle(boot(*LOADED, Stage.CONFIG, start=1000.0 + 500 * n)) for n in range(3)]
    status = make_status(boots, known, 5000.0, live=True)
    row = status["nodes"][0]
    assert (row["verdict"], row["os"], row["problems"], row["missing"]) == ("loaded", "talos", [], "")
    assert row["history"] == [3.0, 3.0, 3.0] and status["counts"]["loaded"] == 1
    assert 'rackctl_boot_up{node="n1",mac="52:54:00:12:34:56"} 1' in render_metrics(status, {})
    assert find_usual(boots).total == 3.0
    assert find_repeat([*boots, boot(Stage.SCRIPT, start=3000.0, now=3001.0)]) is None


RACK = f"""\
server: {{address: 10.98.0.1}}
os: {{name: rancheros, version: v1.5.8}}
unknown: boot
config: [mine.yml]
nodes:
  n1: {{mac: "{MAC}", os: {{name: talos, version: v1.9.1}}, config: [talos.yml]}}
  n2: {{mac: "{OTHER}"}}
"""
MINE = "runcmd:\n- 'while true; do sleep 60; done'\n"


def make_tree():
    texts = {"mine.yml": MINE, "talos.yml": "version: v1alpha1\nmachine:\n  type: worker\n"}
    inputs, rack = Inputs(texts, {}, {}, RACK), parse_rack(RACK)
    tree = render_rack(rack, {}, {}, "p", {"tftp": "t:0", "microhttp": "m:0"}, inputs=inputs)
    told = []
    return add_findings(tree, stop_on_errors(rack, inputs, Catalog(), tree, told.append)), told


def test_the_tree_tells_what_is_known_of_its_machines(tmp_path):
    tree, told = make_tree()
    assert any("mine.yml:2" in line and "CC404" in line for line in told)
    for name in ("known.json", "findings.json"):
        (tmp_path / "status").mkdir(exist_ok=True)
        (tmp_path / "status" / name).write_bytes(tree.files[f"status/{name}"])
    known = read_known(tmp_path)
    assert known.names == {MAC: "n1", OTHER: "n2"}
    assert known.silent == {"talos": Stage.INITRD} and known.configured == {KEY}
    (line,) = known.findings[OTHER.replace(":", "-")]
    assert line.startswith("mine.yml:2:1: CC404: runcmd: while true does not end")
    assert known.findings["default"] == [line] and KEY not in known.findings
    assert make_tree()[0].id == tree.id


def test_no_findings_no_file():
    tree, _ = make_tree()
    bare = {path: content for path, content in tree.files.items() if path != "status/findings.json"}
    assert add_findings(type(tree)(bare), {}).files == bare
    assert json.loads(tree.files["status/findings.json"])


def test_the_linter_s_view_is_in_the_diagnosis_of_whoever_is_served_it():
    line = "mine.yml:2:1: CC404: runcmd: while true does not end, and sshd starts after it"
    known = Known(names={MAC: "n1"}, findings={KEY: [line], "default": ["another"]})
    for mac, seen in ((MAC, line), (OTHER, "another")):
        stuck = boot(*LOADED, Stage.CONFIG, os="rancheros", mac=mac)
        rows = make_status([stuck], known, 5000.0, live=True)["nodes"]
        (problem,) = next(row for row in rows if row["mac"] == mac)["problems"]
        assert problem["code"] == "config-faulty" and seen in problem["causes"]
