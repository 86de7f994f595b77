from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.lint.rules import KINDS
from rackctl.core.lint.text import _READERS, fix_text, guess_kind, lint_text, select
from rackctl.core.yamldoc import dump_yaml, parse_yaml, to_plain
from rackctl.errors import ConfigError

CASES = Path(__file__).parents[2] / "cases" / "lint"
ACCEPTED = sorted((CASES / "accepted").glob("*.yml"))
DROPPED = sorted((CASES / "dropped").glob("*.yml"))


@pytest.mark.parametrize("file", ACCEPTED, ids=lambda file: file.stem)
def test_no_error_on_what_rancheros_accepts(file: Path) -> None:
    found = lint_text("cloud-config", file.read_bytes().decode())
    assert [one for one in found if one.severity == "error"] == []


@pytest.mark.parametrize("file", DROPPED, ids=lambda file: file.stem)
def test_an_error_on_what_rancheros_drops(file: Path) -> None:
    found = lint_text("cloud-config", file.read_bytes().decode())
    assert file.stem.split("-")[0] in {one.code for one in found if one.severity == "error"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in _READERS])
@given(text=st.text(max_size=300) | st.text(alphabet="ab:-[]{}'\"#|>&*!? \n\t.${}=/", max_size=300))
def test_any_text_is_linted_and_mended_without_a_fault_of_ours(kind: str, text: str) -> None:
    for body in (text, "#cloud-config\n" + text, "#!ipxe\nkernel k " + text):
        lint_text(kind, body)
        mended, _ = fix_text(kind, body)
        assert fix_text(kind, mended)[1] == 0 or kind == "cloud-config"


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=30)
    | st.sampled_from(["yes", "0644", "1:30", "1e3", "~", "null", "on", "0x1f", " a", "a ", "a: b", "#x", "a\n b\n"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=10), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_PLAIN.filter(lambda data: isinstance(data, dict)))
def test_what_is_dumped_parses_back_equal(data: object) -> None:
    root, _ = parse_yaml(dump_yaml(data))
    assert root is not None
    assert to_plain(root) == data


def test_a_comment_silences_a_rule_on_its_line_and_on_the_next() -> None:
    text = "#cloud-config\nrancher:\n  services:\n    # rackctl: ignore CC302\n    web: {image: nginx}\n"
    assert lint_text("cloud-config", text) == []
    assert lint_text("cloud-config", text.replace("CC302", "CC303"))
    assert lint_text("cloud-config", "#cloud-config\nhostname: a_b # rackctl: ignore\n") == []


def test_codes_select_by_their_beginning() -> None:
    found = lint_text("cloud-config", "hostname: a_b\n")
    assert [one.code for one in select(found, ["CC0"], [])] == ["CC001"]
    assert [one.code for one in select(found, [], ["CC001"])] == ["CC225"]
    with pytest.raises(ConfigError):
        select(found, ["ZZ"], [])


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.yml", "#cloud-config\n", "cloud-config"),
        ("boot", "#!ipxe\n", "ipxe"),
        ("rack.yml", "server: {}\n", "rack"),
        ("user-data", "#cloud-config\nautoinstall:\n  version: 1\n", "autoinstall"),
        ("a.bu", "variant: flatcar\nversion: 1.0.0\n", "ignition"),
        ("a.ign", '{"ignition": {"version": "3.4.0"}}', "ignition"),
        ("a.cfg", "d-i netcfg/get_hostname string n1\n", "preseed"),
        ("a.yaml", "version: v1alpha1\nmachine:\n  type: worker\n", "talos"),
    ],
)
def test_the_kind_is_guessed(name: str, text: str, kind: str) -> None:
    assert guess_kind(name, text) == kind
