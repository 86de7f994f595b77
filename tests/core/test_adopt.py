"""rack.yml edited by `adopt`: every byte that was there stays."""

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.adopt import add_nodes, name_nodes
from rackctl.core.load import parse_rack
from rackctl.core.starter import render_starter
from rackctl.errors import ConfigError

HEAD = "# mine\nserver: {address: 10.98.106.1}   # here\n\n"
RACKS = {
    "starter": render_starter("10.98.106.1", 83, ["ssh-ed25519 AAAA me@here"]),
    "no nodes": HEAD,
    "no newline": HEAD + "nodes:",
    "empty map": HEAD + "nodes: {}   # none yet\n# the end\n",
    "block": HEAD + "nodes:\n    # first\n    a: {mac: '52:54:00:00:00:01'} # one\n\n    # second\n    b:\n      mac: "
             "\"52:54:00:00:00:02\"\n      boot: once   # again\n\n# after\nunknown: boot\n",
    "block at the end": HEAD + "nodes:\n  a: {mac: 52:54:00:00:00:01}",
    "deep": HEAD + "nodes:\n  a:\n    mac: 52:54:00:00:00:01\n    os:\n      name: discovery\n      version: builtin\n"
            "os:\n  name: discovery\n",
}  # fmt: skip
NEW = {"n7": "52:54:00:00:00:07", "n8": "52:54:00:00:00:08"}


@pytest.mark.parametrize("text", RACKS.values(), ids=RACKS)
def test_only_lines_are_added(text):
    out = add_nodes(text, NEW)
    rack = parse_rack(out)
    assert {name: rack.nodes[name].mac for name in NEW} == NEW
    assert list(rack.nodes)[: -len(NEW)] == list(parse_rack(text).nodes)
    changed = [line for line in difflib.ndiff(text.splitlines(), out.splitlines()) if line[0] == "-"]
    assert [line for line in changed if "{}" not in line] == []
    assert add_nodes(text, {}) == text


def test_a_flow_map_is_edited_too():
    out = add_nodes(HEAD + "nodes: {a: {mac: '52:54:00:00:00:01'}}  # all\n", NEW)
    assert out.startswith(HEAD) and "# all" in out
    assert list(parse_rack(out).nodes) == ["a", "n7", "n8"]


@pytest.mark.parametrize("nodes", [{"a": "52:54:00:00:00:09"}, {"n": "52:54:00:00:00:01"}, {"A b": "52:54:00:00:00:09"},
                                   {"n": "53:54:00:00:00:09"}, {"n: {}\nx": "52:54:00:00:00:09"}])  # fmt: skip
def test_a_taken_or_wrong_name_or_mac_changes_nothing(nodes):
    with pytest.raises(ConfigError):
        add_nodes(RACKS["block"], nodes)


def test_names_by_a_pattern():
    macs = [f"52:54:00:00:00:1{n}" for n in range(3)]
    assert list(name_nodes(macs, "n{n:02}", {"n02"})) == ["n01", "n03", "n04"]
    for wrong in ("n", "n{x}", "n{n", "{}"):
        with pytest.raises(ConfigError):
            name_nodes(macs, wrong, set())


@given(st.lists(st.sampled_from(list(RACKS.values())), min_size=1, max_size=1), st.integers(1, 9))
def test_as_many_as_one_likes(texts, count):
    macs = [f"52:54:00:00:01:{n:02x}" for n in range(count)]
    out = add_nodes(texts[0], name_nodes(macs, "m{n}", parse_rack(texts[0]).nodes))
    assert [node.mac for node in list(parse_rack(out).nodes.values())[-count:]] == macs
