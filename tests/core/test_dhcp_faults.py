"""Bad input in the dhcp section: one message, at the line to mend, with the remedy."""

import pytest

from rackctl.core.load import parse_rack
from rackctl.errors import ConfigError

HEAD = "server: {address: 10.98.0.1}\n"
MAC = 'mac: "52:54:00:00:00:0%d"'
NODES = f"nodes:\n  a: {{{MAC % 1}, address: %s}}\n"


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("dhcp: prxy\n", "rack.yml:2:1", "'router', 'proxy' or 'server'"),
        ("dhcp: {mode: proxy, rnges: []}\n", "rack.yml:2:21", "did you mean 'ranges'?"),
        ("dhcp: server\n", "rack.yml:2:1", "no address to give; add ranges"),
        ("dhcp: {ranges: [10.98.0.100-199]}\n", "rack.yml:2:17", "not a range"),
        ("dhcp:\n  ranges:\n  - 10.98.0.20-10.98.0.30\n  - 10.98.0.30-10.98.0.40\n", "rack.yml:5:5", "overlaps"),
        ("dhcp:\n  ranges:\n  - 10.98.0.30-10.98.0.20\n", "rack.yml:4:5", "runs backwards"),
        ("dhcp: {ranges: [10.98.1.20-10.98.1.30]}\n", "rack.yml:2", "not inside 10.98.0.0/24"),
        ("dhcp: {ranges: [10.98.0.1-10.98.0.30]}\n", "rack.yml:2", "holds server.address"),
        ("dhcp: {subnet: 10.98.7.0/24}\n", "rack.yml:2:8", "is not in 10.98.7.0/24"),
        ("dhcp: {subnet: 10.98.0.1/24}\n", "rack.yml:2:8", "not a subnet"),
        ("dhcp: {router: 10.99.0.1}\n", "rack.yml:2:8", "not inside"),
        ("dhcp: {routes: {10.1.0.0/16: 10.99.0.1}}\n", "rack.yml:2:17", "not in 10.98.0.0/24"),
        ("dhcp: {lease: soon}\n", "rack.yml:2:8", "12h"),
        ("dhcp: {lease: 1m}\n", "rack.yml:2:8", "write 2m to 49710d"),
        ("dhcp: {lease: 99999d}\n", "rack.yml:2:8", "write 2m to 49710d"),
        ("dhcp: {subnet: 10.98.0.0}\n", "rack.yml:2:8", "write its prefix too"),
        ("dhcp: {subnet: 10.98.0.0/31}\n", "rack.yml:2:8", "no network of machines"),
        ("dhcp: {subnet: 0.0.0.0/0}\n", "rack.yml:2:8", "no network of machines"),
        ("dhcp: {domain: Rack.Example}\n", "rack.yml:2:8", "small letters"),
        ("dhcp: {router: 10.98.0.2, routes: {0.0.0.0/0: 10.98.0.3}}\n", "rack.yml:2:36", "keep one"),
        (
            "dhcp: {mode: server, subnet: 10.98.0.0/30, ranges: [10.98.0.2], router: 10.98.0.3}\n",
            "rack.yml:2",
            "not inside",
        ),
        ("dhcp: 5\n", "rack.yml:2:1", "map of keys"),
        ("dhcp: {ranges: 10.98.0.2-10.98.0.9}\n", "rack.yml:2:8", "must be a list"),
        ("dhcp: {other_servers: deny}\n", "rack.yml:2:8", "'refuse' or 'allow'"),
        (NODES % "10.99.0.1", "rack.yml:3:33", "not inside"),
        (NODES % "10.98.0.255", "rack.yml:3:33", "not inside"),
        (NODES % "10.98.0.1", "rack.yml:3:33", "that of the server"),
        (NODES % "10.98.0.9" + f"  b: {{{MAC % 2}, address: 10.98.0.9}}\n", "rack.yml:4:33", "node a"),
        (f"nodes:\n  a: {{{MAC % 1}}}\n  b: {{{MAC % 1}}}\n", "rack.yml:4:7", "same MAC"),
        (NODES % "10.98.0.9" + "dhcp: {ranges: [10.98.0.9-10.98.0.20]}\n", "rack.yml:3:33", "in the range"),
    ],
)
def test_a_fault_names_its_line_and_the_remedy(text: str, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack(HEAD + text)
    assert caught.value.where.startswith(where)
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("mode", ["proxy", "{mode: server, ranges: [10.98.0.9-10.98.0.20]}"])
def test_a_bridge_network_service_hears_no_broadcast(mode: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack(f"server: {{address: 10.98.0.1, network: bridge}}\ndhcp: {mode}\n")
    assert caught.value.where == "rack.yml:1:30"
    assert "write network: host" in caught.value.message


def test_the_master_is_a_machine_of_the_network_it_serves() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack("server: {address: 10.98.0.255}\ndhcp: {mode: server, ranges: [10.98.0.9]}\n")
    assert (caught.value.where, "no machine's" in caught.value.message) == ("rack.yml:1:10", True)


def test_the_short_and_the_long_form_are_one() -> None:
    assert parse_rack(HEAD + "dhcp: proxy\n").dhcp == parse_rack(HEAD + "dhcp: {mode: proxy}\n").dhcp
    assert parse_rack(HEAD).dhcp.mode == "router"
