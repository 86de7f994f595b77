import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core import bsdp
from rackctl.core.bsdp import Image, ImageId, MessageType, Tag
from rackctl.core.bsdp_explain import explain
from rackctl.errors import ConfigError

# The rows of the wiki page on netbooting Macs with FOG, which worked on hardware.
FOG_OFFER = "08:04:81:00:00:67"
FOG_LIST = "01:01:01:04:02:80:00:07:04:81:00:05:2a:09:0d:81:00:05:2a:08:69:50:58:45:2d:46:4f:47"
FOG_SELECT = "01:01:02:08:04:81:00:05:2a:82:0a:4e:65:74:42:6f:6f:74:30:30:31"
FOG_DNSMASQ_LIST = (
    "01:01:01:04:02:80:00:07:04:01:00:02:0e:08:04:01:00:02:0e:09:0d:01:00:02:0e:08:69:50:58:45:2d:46:4f:47"
)

ids = st.builds(ImageId, st.integers(1, 0xFFFF), st.booleans(), st.integers(0, 127))
names = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and text.strip())


@st.composite
def image_lists(draw: st.DrawFn) -> list[Image]:
    chosen = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    return [Image(one, draw(names)) for one in chosen]


def test_the_encoder_gives_the_rows_that_worked_on_hardware() -> None:
    fog = Image(ImageId(0x052A), "iPXE-FOG")
    assert bsdp.colons(bsdp.encode_offer(ImageId(0x67))) == FOG_OFFER
    assert bsdp.colons(bsdp.encode_list([fog], fog.id)) == FOG_LIST
    assert bsdp.colons(bsdp.encode_select(fog.id)) == FOG_SELECT
    boot = ImageId(0x020E, install=False)
    parts = bsdp.parse(bsdp.encode_list([Image(boot, "iPXE-FOG")], boot)).parts
    marked = [*parts[:3], (Tag.SELECTED_IMAGE, boot.encode()), *parts[3:]]
    assert bsdp.colons(b"".join(bsdp.encode_part(tag, value) for tag, value in marked)) == FOG_DNSMASQ_LIST


def test_a_label_counts_in_bytes() -> None:
    assert Image(ImageId(1), "Rescue ★").encode()[4] == 0x0A


def test_the_longest_list_fits_and_one_byte_more_is_refused() -> None:
    longest = Image(ImageId(1), "x" * 235)
    assert len(bsdp.encode_list([longest], longest.id)) == 255
    too_long = Image(ImageId(1), "x" * 236)
    with pytest.raises(ConfigError, match="256 bytes") as caught:
        bsdp.encode_list([too_long], too_long.id)
    assert "shorten the labels by 1 bytes" in caught.value.remedy


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ImageId(0), "index 0"),
        (lambda: ImageId(65536), "index 65536"),
        (lambda: Image(ImageId(1), "").encode(), "no label"),
        (lambda: Image(ImageId(1), "a\nb").encode(), "no label"),
        (lambda: Image(ImageId(1), "x" * 256).encode(), "256 bytes"),
        (lambda: bsdp.encode_list([Image(ImageId(1), "a")], ImageId(2)), "not in the list"),
        (lambda: bsdp.encode_list([Image(ImageId(1), "a"), Image(ImageId(1), "b")], ImageId(1)), "same id"),
        (lambda: bsdp.parse(bytes.fromhex("0101")), "byte 0"),
        (lambda: bsdp.parse(bytes.fromhex("01010108")), "byte 3"),
        (lambda: ImageId.decode(bytes(4)), "index 0"),
        (lambda: bsdp.parse_rows("no bytes here, 10.99.0.1, 01:01"), "no row of 3 bytes"),
    ],
)
def test_what_a_mac_would_not_take_is_refused(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=says):
        make()


@given(image_lists())
def test_a_list_comes_back_as_it_went_in(images: list[Image]) -> None:
    found = bsdp.parse(bsdp.encode_list(images, images[-1].id))
    assert found.type is MessageType.LIST
    assert list(found.images) == images
    assert found.get(Tag.DEFAULT_IMAGE) == images[-1].id.encode()


@given(ids)
def test_a_select_and_an_offer_come_back(chosen: ImageId) -> None:
    select = bsdp.parse(bsdp.encode_select(chosen))
    assert (select.type, select.get(Tag.SELECTED_IMAGE)) == (MessageType.SELECT, chosen.encode())
    assert ImageId.decode(chosen.encode()) == chosen
    assert bsdp.parse(bsdp.encode_offer(chosen)).type is None


@given(st.binary(max_size=300))
def test_any_bytes_are_explained(raw: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert bsdp.parse(raw)
    assert explain(raw).kind


@given(st.binary(min_size=3, max_size=80))
def test_a_pasted_row_is_found_however_it_is_written(raw: bytes) -> None:
    code = [", ".join(f"0x{byte:02x}" for byte in raw), "".join(f"\\x{byte:02x}" for byte in raw)]
    cisco = ".".join(raw[at : at + 2].hex() for at in range(0, len(raw), 2))
    for text in (raw.hex(":"), raw.hex("-"), raw.hex(" "), "0x" + raw.hex(), raw.hex().upper(), cisco, *code):
        assert bsdp.parse_rows(f"option vendor-encapsulated-options {text};\n") == [raw]


def test_rows_of_configuration_files_are_found() -> None:
    text = """
      dhcp-option-force=tag:bsdp,tag:bsdp-list,43,01:01:01:04:02:80:00
      option vendor-encapsulated-options
        01:01:02: # Start BSDP Inform/Select
        8:4:81:0:5:2a; # DEADBEEF is a comment
      { "code": 43, "data": "010103" }
    """
    assert [row.hex() for row in bsdp.parse_rows(text)] == ["01010104028000", "01010208048100052a", "010103"]


def test_explaining_the_rows_of_fog() -> None:
    found = explain(bsdp.parse_rows(FOG_DNSMASQ_LIST)[0])
    assert found.kind == "ACK[LIST] of a server"
    assert found.rows[-1].says == "'iPXE-FOG' is 0100020e: boot, Mac OS X, index 526 (of this server)"
    assert found.remarks == ("an image is marked as chosen already: the Mac does not ask",)
    assert explain(bsdp.parse_rows(FOG_SELECT)[0]).rows[-1].says == "'NetBoot001'"
    assert explain(bsdp.parse_rows(FOG_OFFER)[0]).kind.startswith("OFFER")


@pytest.mark.parametrize(
    ("row", "remark"),
    [
        ("01:01:01:02:02:01:01:05:02:08:00", "reply port from 1024 on"),
        ("01:01:02", "sub-option 8, which is missing"),
        ("01:01:02:08:04:00:00:00:00", "null image"),
        ("01:01:01:07:04:81:00:00:01:09:06:81:00:00:02:01:61", "default image is not in the list"),
        ("01:01:01:04:02:80:00", "without an image list"),
        ("01:01:01:09:06:81:00:00:02:07:61", "entry is cut short"),
        ("01:01:02:08:04:81", "says 4 bytes, 1 follow"),
    ],
)
def test_explaining_says_what_is_odd(row: str, remark: str) -> None:
    assert any(remark in one for one in explain(bsdp.parse_rows(row)[0]).remarks)
