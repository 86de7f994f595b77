from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.config.merge import fill_secrets, list_origins, merge
from rackctl.core.yamldoc import Value, dump_yaml, make_value, parse_yaml, to_plain
from rackctl.errors import ConfigError


def read(text: str, file: str) -> Value:
    root, _ = parse_yaml(text, file)
    assert root is not None
    return root


def merged(*texts: str) -> Value:
    found: Value | None = None
    for number, text in enumerate(texts):
        found = merge(found, read(text, f"{number}.yml"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("texts", "result"),
    [
        (("a: {x: 1}", "a: {y: 2}"), {"a": {"x": 1, "y": 2}}),
        (("a: [1, 2]", "a: [2, 3]"), {"a": [1, 2, 3]}),
        (("a: 1", "a: 2"), {"a": 2}),
        (("a: {x: 1, y: 2}", "a: {x: ~}"), {"a": {"y": 2}}),
        (("a: [1, 2]", "a: !replace [3]"), {"a": [3]}),
        (("a: {x: 1}", "a: !replace {y: 2}"), {"a": {"y": 2}}),
        (("a: 1", "b: {c: ~, d: 2}"), {"a": 1, "b": {"d": 2}}),
        (("a: 1", "a: 2\na: 3"), {"a": 3}),
        (
            ("write_files: [{path: /a, content: x}, {path: /b}]", "write_files: [{path: /a, content: z}]"),
            {"write_files": [{"path": "/b"}, {"path": "/a", "content": "z"}]},
        ),
    ],
)
def test_the_rules_of_merging(texts: tuple[str, ...], result: object) -> None:
    assert to_plain(merged(*texts)) == result


def test_a_list_and_a_map_do_not_merge_and_both_places_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        merged("a:\n  b: [1]", "\na:\n  b: {c: 1}")
    assert caught.value.where == "1.yml:3:6"
    assert "a.b is a map here and a list in 0.yml:2" in caught.value.message


LEAF = st.booleans() | st.integers(-(2**40), 2**40) | st.text(min_size=1, max_size=12)
TREE = st.dictionaries(
    st.sampled_from("abcd"),
    st.recursive(
        LEAF,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)


def clash(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return any(clash(one[key], other[key]) for key in one.keys() & other.keys())
    kinds = [("m" if isinstance(v, dict) else "l" if isinstance(v, list) else "s") for v in (one, other)]
    return kinds[0] != kinds[1]


@given(TREE, TREE, TREE)
def test_any_merge_result_parses_back_equal(one: Any, two: Any, three: Any) -> None:
    try:
        found = merge(merge(make_value(one, "1"), make_value(two, "2")), make_value(three, "3"))
    except ConfigError:
        assert clash(one, two) or clash(one, three) or clash(two, three)
        return
    text = dump_yaml(to_plain(found))
    assert to_plain(read(text, "again")) == to_plain(found)
    assert len(list_origins(text, found)) == len(text.split("\n"))


@given(TREE)
def test_merging_twice_and_with_nothing_changes_nothing(data: Any) -> None:
    value = make_value(data, "1")
    assert to_plain(merge(None, value)) == to_plain(merge(value, make_value({}, "2"))) == data


@given(TREE, TREE)
def test_what_only_one_side_has_is_kept_and_the_later_scalar_wins(one: Any, two: Any) -> None:
    try:
        found = to_plain(merge(make_value(one, "1"), make_value(two, "2")))
    except ConfigError:
        return
    for key in one.keys() | two.keys():
        if key not in two:
            assert found[key] == one[key]
        elif key not in one or not isinstance(two[key], (dict, list)):
            assert found[key] == two[key]


def test_each_line_has_its_source() -> None:
    found = merged("hostname: a\nkeys:\n- k1\nr:\n  x: 1\n  y: |\n    two\n    lines\n", "hostname: b\nkeys: [k2]\n")
    text = dump_yaml(to_plain(found))
    told = dict(zip(text.split("\n"), list_origins(text, found), strict=True))
    assert told["hostname: b"] == "1.yml:1"
    assert told["- k1"] == "0.yml:3"
    assert told["- k2"] == "1.yml:2"
    assert told["  x: 1"] == "0.yml:5"
    assert told["    lines"] == "0.yml:6"


def test_a_secret_is_filled_in_and_only_by_its_name() -> None:
    value = read("a: {b: [!secret tok, c]}", "s.yml")
    assert to_plain(fill_secrets(value, lambda name, where: f"<{name}@{where}>")) == {
        "a": {"b": ["<tok@s.yml:1>", "c"]}
    }


def test_a_merge_key_brings_in_what_the_map_has_not_itself() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: *a, x: 3}\nd: {<<: [*a, *b], w: 4}\ne: {'<<': 5}\n"
    root, _ = parse_yaml(text)
    assert root is not None
    data = to_plain(merge(None, root))
    assert (data["c"], data["d"], data["e"]) == ({"x": 3, "y": 1}, {"y": 1, "z": 2, "x": 1, "w": 4}, {"<<": 5})
    assert to_plain(merge(make_value({"c": {"y": 9, "v": 9}}, ""), root))["c"] == {"y": 1, "v": 9, "x": 3}
