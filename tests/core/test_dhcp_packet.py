"""Bytes of the network: what we encode is decoded to the same, and nothing that comes in can do harm."""

import contextlib
import json
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.dhcp import packet
from rackctl.core.dhcp.answers import MOST, read_answers
from rackctl.core.dhcp.clients import CLIENTS, discover

OPTIONS = st.dictionaries(st.integers(1, 254).filter(lambda code: code != 52), st.binary(max_size=600), max_size=8)


@given(OPTIONS, st.integers(0, 2**32 - 1))
def test_a_message_comes_back_as_it_went(options: dict[int, bytes], xid: int) -> None:
    sent = packet.Message(2, xid, "52:54:00:00:00:01", options, 0x8000, siaddr=IPv4Address("10.0.0.1"), file="a.efi")
    found = packet.decode(packet.encode(sent))
    assert (found.xid, found.siaddr, found.file, dict(found.options)) == (xid, sent.siaddr, "a.efi", options)


@given(st.binary(max_size=700))
def test_any_bytes_are_a_message_or_a_value_error(raw: bytes) -> None:
    for data in (raw, packet.encode(packet.Message(2, 1, "52:54:00:00:00:01"))[:240] + raw):
        with contextlib.suppress(ValueError):
            found = packet.decode(data)
            assert found.file.isprintable()
            packet.suboptions(data)
        read_answers(1, [(0.0, "", "10.0.0.1", data)])


def test_options_in_the_header_fields_are_found() -> None:
    raw = bytearray(packet.encode(packet.Message(2, 1, "52:54:00:00:00:01", {52: b"\1", 53: b"\2"})))
    raw[108:119] = bytes((67, 8)) + b"ipxe.efi" + b"\xff"
    assert packet.decode(bytes(raw)).text(packet.BOOT_FILE) == "ipxe.efi"


def _offer(*options: tuple[int, bytes], overload: int = 0, file: bytes = b"", sname: bytes = b"") -> bytes:
    """An answer to the first client of base 1, with its options as they are, well-formed or not."""
    head = bytearray(packet.encode(packet.Message(2, 1, "52:54:00:00:00:01"))[:240])
    head[44 : 44 + len(sname)], head[108 : 108 + len(file)] = sname, file
    first = [(packet.OVERLOAD, bytes((overload,)))] if overload else []
    return bytes(head) + b"".join(bytes((code, len(value))) + value for code, value in [*first, *options])


HOSTILE = {
    "an empty message type": _offer((53, b"")),
    "a truncated option": _offer((53, b"\2")) + bytes((67, 200)) + b"x",
    "a code with no length": _offer((53, b"\2")) + b"\x43",
    "short addresses": _offer((53, b"\2"), (54, b"\1"), (66, b""), (67, b"\0")),
    "an option 43 that is cut": _offer((53, b"\2"), (43, b"\x09")),
    "an empty control in option 43": _offer((53, b"\2"), (43, b"\x06\0\x09\1a")),
    "giant vendor options": _offer((53, b"\2"), *[(43, b"\x09\xff" + b"m" * 253)] * 200),
    "a relay's option 82": _offer((53, b"\2"), (82, b"\1\4card\2\xff")),
    "a giant boot file": _offer((53, b"\2"), *[(67, b"f" * 255)] * 200),
    "both fields overloaded": _offer(
        (53, b"\2"), overload=3, file=b"\x43\x7e" + b"f" * 126, sname=b"\x42\x3e" + b"s" * 62
    ),
    "an overload that says so again": _offer((53, b"\2"), overload=3, file=b"\x34\1\3", sname=b"\x34\1\3"),
    "an overload of no kind": _offer((53, b"\2"), (52, b"\xff")),
    "an empty overload": _offer((53, b"\2"), (52, b"")),
    "letters of no alphabet": _offer((53, b"\2"), (12, b"\x1b]0;x\7\xe2\x80\xae"), (67, b"\xff\xfe\x1b[2J")),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_packet_does_no_harm(name: str) -> None:
    for answer in read_answers(1, [(0.0, "52:54:00:00:00:02", "10.0.0.1", HOSTILE[name])]):
        text = json.dumps(answer.to_json())
        assert len(text) < 2000
        assert all(c.isprintable() for c in answer.boot_file + answer.host_name + answer.boot_server)


def test_options_in_both_header_fields_are_told() -> None:
    raw = HOSTILE["both fields overloaded"]
    (answer,) = read_answers(1, [(0.0, "", "10.0.0.1", raw)])
    assert (answer.option_67, answer.option_66, answer.file) == ("f" * 126, "s" * 62, "")


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=12), st.integers(0, 4))
def test_any_options_are_read(options: list[tuple[int, bytes]], overload: int) -> None:
    raw = _offer(*options, overload=overload, file=b"\x35\0\x43\xff", sname=b"\x42")
    for cut in range(0, len(raw), 7):
        read_answers(1, [(0.0, "", "10.0.0.1", raw[: len(raw) - cut])])


def test_a_flood_of_servers_is_bounded() -> None:
    rows = [(0.0, "", "", _offer((53, b"\2"), (54, n.to_bytes(4, "big")))) for n in range(3000)]
    assert len(read_answers(1, rows)) == MOST


def test_two_cards_with_one_address_are_two_answers() -> None:
    raw = _offer((53, b"\2"), (54, b"\x0a\0\0\1"))
    assert (
        len(read_answers(1, [(0.0, mac, "10.0.0.1", raw) for mac in ("52:54:00:00:00:02", "52:54:00:00:00:03")])) == 2
    )


def test_an_escape_sequence_is_not_printed() -> None:
    assert packet.printable(b"\x1b[31mred\0rest") == "?[31mred"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.key)
def test_each_client_says_who_it_is(client) -> None:
    found = packet.decode(discover(client, "52:54:00:00:00:01", 5))
    assert found.type == packet.DISCOVER
    assert found.options[packet.CLIENT_ARCH] == bytes((0, client.arch.code))
    assert found.text(packet.VENDOR_CLASS).startswith("HTTPClient" if client.arch.http else "PXEClient")
    assert found.text(packet.USER_CLASS) == client.user_class
    assert found.flags == packet.BROADCAST
