"""Bytes of the network: what we encode is decoded to the same, and nothing that comes in can do harm."""

import contextlib
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.dhcp import packet
from rackctl.core.dhcp.answers import read_answers
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
