import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.versions import choose_newest, is_wish, numbers

TAGS = ["v1.5.9", "v1.5.10", "v1.5.11-rc1", "v1.4.99", "v2.0.0", "v1.5.2", "nightly"]


@pytest.mark.parametrize(
    ("wish", "newest"),
    [
        ("v1.5.x", "v1.5.10"),
        ("1.5.*", "v1.5.10"),
        ("v1.x", "v1.5.10"),
        ("v1.x.x", "v1.5.10"),
        ("v1", "v1.5.10"),
        ("latest", "v2.0.0"),
        ("v1.5.10", "v1.5.10"),
        ("v1.50.x", None),
        ("v3", None),
        ("stable", None),
    ],
)
def test_a_wish_is_the_newest_that_fits(wish: str, newest: str | None) -> None:
    assert choose_newest(wish, TAGS) == newest


def test_a_candidate_has_no_numbers() -> None:
    assert numbers("v1.5.0-rc1") is None and numbers("v1.5.0") == (1, 5, 0)


def test_wishes() -> None:
    assert is_wish("v1.5.x") and is_wish("latest") and not is_wish("v1.5.8")


@given(st.lists(st.tuples(*[st.integers(0, 300)] * 3), min_size=1))
def test_the_newest_is_the_numerically_greatest(parts: list[tuple[int, int, int]]) -> None:
    assert choose_newest("latest", [f"v{a}.{b}.{c}" for a, b, c in parts]) == "v{}.{}.{}".format(*max(parts))


@given(st.text(), st.lists(st.text()))
def test_any_text_is_answered(wish: str, published: list[str]) -> None:
    assert choose_newest(wish, published) in [None, *published]
