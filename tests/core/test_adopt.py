"""rack.yml edited by `adopt`: every byte that was there stays."""

import difflib
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.adopt import add_nodes, name_nodes
from rackctl.core.catalog import Catalog
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


ADDED = 'n7: {mac: "52:54:00:00:00:07"}, n8: {mac: "52:54:00:00:00:08"}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "nodes: {a: {mac: '52:54:00:00:00:01'}}   # all",
            f"nodes: {{a: {{mac: '52:54:00:00:00:01'}}, {ADDED}}}   # all",
        ),
        (
            'nodes: {a: {mac: "52:54:00:00:00:01"},  # one\n  }',
            f'nodes: {{a: {{mac: "52:54:00:00:00:01"}}, {ADDED},  # one\n  }}',
        ),
        ("nodes:  ~   # none yet", f"nodes:  {{{ADDED}}}   # none yet"),
    ],
    ids=["a line", "a comma at the end", "null"],
)
def test_a_flow_map_is_edited_in_place(before: str, after: str) -> None:
    """Not a byte besides: the spaces of other keys, quotes, comments."""
    tail = "\nunknown:   discover # keep\n"
    out = add_nodes(HEAD + before + tail, NEW)
    assert out == HEAD + after + tail
    assert list(parse_rack(out).nodes)[-2:] == ["n7", "n8"]


@pytest.mark.parametrize("text", RACKS.values(), ids=RACKS)
def test_the_ends_of_lines_stay_those_of_the_file(text):
    out = add_nodes(text.replace("\n", "\r\n"), NEW)
    assert out == add_nodes(text, NEW).replace("\n", "\r\n")


def test_a_rack_whose_os_is_its_own():
    own = Catalog({"mine": (files("rackctl") / "catalog" / "local.yml").read_text()})
    text = HEAD + "os: {name: mine, version: builtin}\n"
    assert list(parse_rack(add_nodes(text, NEW, catalog=own), catalog=own).nodes) == list(NEW)
    with pytest.raises(ConfigError, match="no OS 'mine'"):
        add_nodes(text, NEW)


@pytest.mark.parametrize("nodes", [{"a": "52:54:00:00:00:09"}, {"n": "52:54:00:00:00:01"}, {"A b": "52:54:00:00:00:09"},
                                   {"n": "53:54:00:00:00:09"}, {"n: {}\nx": "52:54:00:00:00:09"}])  # fmt: skip
def test_a_taken_or_wrong_name_or_mac_changes_nothing(nodes):
    with pytest.raises(ConfigError):
        add_nodes(RACKS["block"], nodes)


def test_names_by_a_pattern():
    macs = [f"52:54:00:00:00:1{n}" for n in range(3)]
    assert list(name_nodes(macs, "n{n:02}", {"n02"})) == ["n01", "n03", "n04"]
    for wrong in ("n", "n{x}", "n{n", "{}", "n{n.x}", "n{n[0]}"):
        with pytest.raises(ConfigError):
            name_nodes(macs, wrong, set())


@given(st.lists(st.sampled_from(list(RACKS.values())), min_size=1, max_size=1), st.integers(1, 9))
def test_as_many_as_one_likes(texts, count):
    macs = [f"52:54:00:00:01:{n:02x}" for n in range(count)]
    out = add_nodes(texts[0], name_nodes(macs, "m{n}", parse_rack(texts[0]).nodes))
    assert [node.mac for node in list(parse_rack(out).nodes.values())[-count:]] == macs
