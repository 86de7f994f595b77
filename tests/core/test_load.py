import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.load import parse_rack
from rackctl.core.starter import render_starter
from rackctl.errors import ConfigError

GOOD = "server: {address: 10.98.0.1}\n"


def test_the_starter_is_good() -> None:
    rack = parse_rack(render_starter("10.98.0.1", 83, ["ssh-ed25519 AAAA me@here"]))
    assert rack.server.address == "10.98.0.1"
    assert rack.ssh_authorized_keys == ("ssh-ed25519 AAAA me@here",)


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("server: [", "rack.yml:1:", "YAML"),
        ("sever: {address: 10.98.0.1}\n", "rack.yml:1:1", "did you mean 'server'?"),
        ("server: {adress: 10.98.0.1}\n", "rack.yml", "did you mean 'address'?"),
        ("server:\n  address: 10.98.0.300\n", "rack.yml:2:3", "not an IPv4 address"),
        (GOOD + "nodes:\n  n1: {mac: '52:54:00:12:34'}\n", "rack.yml:3:8", "not a MAC"),
        (GOOD + "nodes:\n  n1: {mac: '53:54:00:12:34:56'}\n", "rack.yml:3:8", "multicast"),
        (GOOD + "nodes:\n  a: {mac: 525400123456x}\n", "rack.yml:3:7", "not a MAC"),
        (GOOD + "nodes:\n  a: {mac: '52-54-00-12-34-56'}\n  b: {mac: 5254.0012.3456}\n", "rack.yml", "same MAC"),
        (GOOD + "os: {name: rancheros}\n", "rack.yml:2:1", "needs a version"),
        (GOOD + "os: {name: rancheros, version: ../../etc}\n", "rack.yml:2", "not a version"),
        (
            GOOD + "nodes:\n  1: {mac: '52:54:00:12:34:56'}\n  '1': {mac: '52:54:00:12:34:57'}\n",
            "rack.yml:4:3",
            "key 1 ",
        ),
        ("- a\n", "rack.yml", "not a map"),
    ],
)
def test_a_fault_names_its_place(text: str, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack(text)
    assert caught.value.where.startswith(where)
    assert says in caught.value.message


def test_every_fault_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack("server: {address: x}\nnodes: {n: {mac: y}}\n")
    assert "IPv4" in caught.value.message
    assert "MAC" in caught.value.message


@given(st.text(max_size=200))
def test_any_text_gives_a_rack_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_rack(text)
