import pytest

from rackctl.core.sums import find_sum, parse_sums

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "text", [f"sha256: {A}  x\n", f"{A}  x\n", f"{A} *x\n", f"{A}  ./x\n", f"SHA256 (x) = {A}\n", f"# c\n\n{A}  x\r\n"]
)
def test_every_form_is_read(text: str) -> None:
    assert parse_sums(text) == {"x": A}


@pytest.mark.parametrize("text", [f"md5: {A}  x", f"{A[:63]}  x", f"{A} x", f"SHA512 (x) = {A}", A])
def test_what_is_no_sum_is_left_out(text: str) -> None:
    assert parse_sums(text) == {}


@pytest.mark.parametrize(
    ("sums", "found"),
    [
        ({"loader/linux": A, "linux": B}, A),
        ({"linux": B}, B),
        ({"dist/artifacts/linux": A}, A),
        ({"dist/linux": A, "other/linux": B}, None),
        ({"xlinux": A}, None),
    ],
)
def test_the_path_counts_for_more_than_the_name(sums: dict[str, str], found: str | None) -> None:
    assert find_sum(sums, "https://h/r/CHECKSUMS", "https://h/r/loader/linux") == found
