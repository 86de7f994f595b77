"""Each thing that goes wrong on the wire is named, and the same wire without it is not."""

from dataclasses import replace

import pytest

from rackctl.core.dhcp.answers import Answer
from rackctl.core.dhcp.audit import Scene, find_problems
from rackctl.core.dhcp.clients import CLIENTS
from rackctl.core.load import parse_rack

MASTER, ROUTER = "10.98.0.1", "10.98.0.2"
FILES = ("undionly.kpxe", "ipxe.efi", "snponly.efi")
RACK = parse_rack("server: {address: 10.98.0.1}\n")
URL = "http://10.98.0.1:83/ipxe/snponly.efi"
RIGHT = {
    "bios": "undionly.kpxe",
    "uefi": "snponly.efi",
    "uefi-ebc": "snponly.efi",
    "http": URL,
    "ipxe": "undionly.kpxe",
}


def offer(client: str, **more) -> Answer:
    file = RIGHT.get(client, "")
    base = Answer(client, "address", ROUTER, "52:54:00:00:00:02", "10.98.0.100", MASTER if file else "", file,
                  vendor_class="HTTPClient" if client == "http" else "")  # fmt: skip
    return replace(base, **more)


def good() -> list[Answer]:
    return [offer(client.key) for client in CLIENTS]


def names(answers: list[Answer], state: str = "ours") -> set[str]:
    states = {(a.boot_server, a.boot_file): state for a in answers if a.boot_file}
    return {problem.name for problem in find_problems(Scene(RACK, FILES, answers, states))}


def changed(clients: tuple[str, ...], **more) -> list[Answer]:
    return [replace(a, **more) if a.client in clients else a for a in good()]


def proxied(**router) -> list[Answer]:
    plain = [replace(a, next_server="", file="", vendor_class="", **router) for a in good()]
    return plain + [replace(a, kind="proxy", server=MASTER, offered="") for a in good() if a.boot_file]


def test_a_good_wire_is_told_nothing() -> None:
    assert names(good()) == set()
    assert names(proxied()) == set()


@pytest.mark.parametrize(
    ("name", "answers", "state"),
    [
        ("no-server", [], "ours"),
        ("no-server", [a for a in proxied() if a.kind == "proxy"], "ours"),
        ("two-servers", [*good(), offer("bios", server="10.98.0.3", mac="52:54:00:00:00:03")], "ours"),
        ("two-servers", [*good(), offer("bios", mac="52:54:00:00:00:03")], "ours"),
        ("slow-server", [replace(a, delay=4.2) for a in good()], "ours"),
        ("two-files", [*good(), offer("bios", server="10.98.0.3", file="pxelinux.0")], "ours"),
        ("two-files", [*proxied(), offer("uefi", file="grub.efi")], "ours"),
        ("missing-file", good(), "missing"),
        ("loop", good(), "other"),
        ("pxe-menu", changed(("bios",), pxe_menu=True), "ours"),
        ("only-options", changed(("bios",), file="", next_server="", option_67="undionly.kpxe"), "ours"),
        ("server-by-name", changed(("bios",), next_server="", option_66="master.example"), "ours"),
        ("arch-7-9", changed(("uefi-ebc",), file="ipxe.efi"), "ours"),
        ("arch-7-9", changed(("uefi-ebc",), file="", next_server=""), "ours"),
        ("http-no-echo", changed(("http",), vendor_class=""), "ours"),
        ("http-no-url", changed(("http",), file="snponly.efi"), "ours"),
        ("no-file", changed(tuple(RIGHT), file="", next_server=""), "ours"),
        ("next-server-wins", [replace(a, next_server=ROUTER) if a.kind == "address" else a for a in proxied()], "ours"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(name: str, answers: list[Answer], state: str) -> None:
    assert name in names(answers, state)


def test_both_of_two_servers_are_shown_with_their_hardware() -> None:
    answers = [*good(), offer("bios", server="10.98.0.3", mac="52:54:00:00:00:03")]
    text = next(p.text for p in find_problems(Scene(RACK, FILES, answers, {})) if p.name == "two-servers")
    for word in (ROUTER, "10.98.0.3", "52:54:00:00:00:02", "52:54:00:00:00:03"):
        assert word in text


def test_one_late_answer_is_no_slow_server() -> None:
    assert names([replace(a, delay=5.0 if a.client == "bios" else 0.1) for a in good()]) == set()


def test_every_problem_has_a_remedy() -> None:
    for answers, state in ((good(), "missing"), (good(), "other"), ([], "ours")):
        states = {(a.boot_server, a.boot_file): state for a in answers if a.boot_file}
        assert all(p.remedy and p.text for p in find_problems(Scene(RACK, FILES, answers, states)))
