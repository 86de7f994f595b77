"""Core. Apple's Boot Server Discovery Protocol (BSDP): the bytes of DHCP option 43, made and read.

Sources: Apple's "BSDP.doc" 1.0.8 and bootplib/bsdp.h in bootp-494 (the names and numbers), BSDPClient.c there (what a
client accepts). All integers are big-endian. A sub-option is tag, length, value; Apple writes no end tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from rackctl.errors import ConfigError

VENDOR_CLASS = "AAPLBSDPC"  # option 60 of an answer: exactly these nine bytes, or Apple's client drops it
PRIORITY = 0x8000  # BSDP_PRIORITY_BASE; the highest priority wins
OPTION_MAX = 255  # RFC 2132 section 2: one length byte. The servers' configurations hold one option 43, never two.
INDEX_MAX = 0xFFFF  # BSDP_IMAGE_INDEX_MAX
GLOBAL_INDEX = 4096  # BSDP.doc: from here on, the same id on several servers is one entry, load-balanced
# Not needed by iPXE; the SELECT that FOG's wiki proved on six models of Macs has it, so ours is the same bytes.
_MACHINE_NAME = b"NetBoot001"
_ENTRY = 5  # bytes of an image entry before its name: id and length
_LIST_FIXED = 3 + 4 + 6 + 2  # bytes of ACK[LIST] around its entries


class Tag(IntEnum):
    """Sub-options of option 43 (bsdp.h, bsdptag_t)."""

    MESSAGE_TYPE = 1
    VERSION = 2
    SERVER_IDENTIFIER = 3
    SERVER_PRIORITY = 4
    REPLY_PORT = 5
    IMAGE_LIST_PATH = 6
    DEFAULT_IMAGE = 7
    SELECTED_IMAGE = 8
    IMAGE_LIST = 9
    NETBOOT_1_0 = 10
    ATTRIBUTES_FILTER = 11
    MAX_MESSAGE_SIZE = 12
    SHADOW_MOUNT_URL = 128
    SHADOW_FILE_PATH = 129
    MACHINE_NAME = 130


class MessageType(IntEnum):
    """Value of sub-option 1."""

    LIST = 1
    SELECT = 2
    FAILED = 3


@dataclass(frozen=True)
class ImageId:
    """boot_image_id: install flag (bit 31), kind (bits 30-24), a reserved byte, index 1..65535."""

    index: int
    install: bool = True
    kind: int = 1  # 0 Mac OS 9, 1 Mac OS X, 2 Mac OS X Server, 3 diagnostics

    def __post_init__(self) -> None:
        if not 1 <= self.index <= INDEX_MAX:
            raise ConfigError(f"image index {self.index} is not in 1..{INDEX_MAX}", remedy="0 is BSDP's null image")
        if not 0 <= self.kind <= 0x7F:
            raise ConfigError(f"image kind {self.kind} is not in 0..127", remedy="1 is Mac OS X")

    def encode(self) -> bytes:
        """Four bytes."""
        return bytes([0x80 * self.install + self.kind, 0]) + self.index.to_bytes(2, "big")

    @classmethod
    def decode(cls, raw: bytes) -> ImageId:
        """Raises ConfigError when raw is not four bytes with the reserved one 0, or is the null image."""
        if len(raw) != 4 or raw[1]:
            raise ConfigError(f"{raw.hex(':')} is not an image id: four bytes, the second of them 0")
        return cls(int.from_bytes(raw[2:], "big"), bool(raw[0] & 0x80), raw[0] & 0x7F)


@dataclass(frozen=True)
class Image:
    """One icon of the Option key's picker. name: its label; it counts in UTF-8 bytes."""

    id: ImageId
    name: str

    def encode(self) -> bytes:
        """An entry of sub-option 9: id, length byte, name, no terminator. Raises ConfigError."""
        if not self.name.isprintable() or not self.name.strip():  # nor is a lone surrogate, which has no UTF-8
            raise ConfigError(f"{self.name!r} is no label: it must have characters that a screen can show")
        raw = self.name.encode()
        if len(raw) > OPTION_MAX:
            raise ConfigError(f"{self.name[:20]!r}... has {len(raw)} bytes; a length byte tells {OPTION_MAX} at most")
        return self.id.encode() + bytes([len(raw)]) + raw


@dataclass(frozen=True)
class Message:
    """Option 43, read. parts: (tag, value) in their order; `images` is sub-option 9 taken apart."""

    parts: tuple[tuple[int, bytes], ...]

    def get(self, tag: int) -> bytes | None:
        """The value of the first sub-option with this tag."""
        return next((value for found, value in self.parts if found == tag), None)

    @property
    def type(self) -> MessageType | None:
        """LIST, SELECT, FAILED; None when sub-option 1 is absent (an OFFER has none) or unknown."""
        raw = self.get(Tag.MESSAGE_TYPE)
        known = raw is not None and len(raw) == 1 and raw[0] in set(MessageType)
        return MessageType(raw[0]) if known and raw else None

    @property
    def images(self) -> tuple[Image, ...]:
        """The image list. Raises ConfigError when it is cut short."""
        return tuple(_parse_images(self.get(Tag.IMAGE_LIST) or b""))


def encode_part(tag: int, value: bytes) -> bytes:
    """One sub-option. Raises ConfigError when its value does not fit."""
    if len(value) > OPTION_MAX:
        raise ConfigError(f"sub-option {tag} has {len(value)} bytes; its length byte tells {OPTION_MAX} at most")
    return bytes([tag, len(value)]) + value


def encode_list(images: Sequence[Image], default: ImageId, priority: int = PRIORITY) -> bytes:
    """ACK[LIST]: every image, and which one the N key boots. Raises ConfigError when it does not fit one option."""
    if default not in [image.id for image in images]:
        raise ConfigError("the default image is not in the list", remedy="choose one of the listed images")
    if len({image.id for image in images}) != len(images):
        raise ConfigError("two images have the same id", remedy="give each an index of its own")
    entries = b"".join(image.encode() for image in images)
    over = _LIST_FIXED + len(entries) - OPTION_MAX
    if over > 0:
        raise ConfigError(
            f"the image list has {OPTION_MAX + over} bytes; DHCP option 43 holds {OPTION_MAX}",
            remedy=f"shorten the labels by {over} bytes, or list fewer images (each costs {_ENTRY})",
        )
    return (
        encode_part(Tag.MESSAGE_TYPE, bytes([MessageType.LIST]))
        + encode_part(Tag.SERVER_PRIORITY, priority.to_bytes(2, "big"))
        + encode_part(Tag.DEFAULT_IMAGE, default.encode())
        + encode_part(Tag.IMAGE_LIST, entries)
    )


def encode_select(chosen: ImageId) -> bytes:
    """ACK[SELECT]: the image that the Mac now boots, and the machine's name for Mac OS X, which iPXE has no use for."""
    kind = encode_part(Tag.MESSAGE_TYPE, bytes([MessageType.SELECT]))
    return kind + encode_part(Tag.SELECTED_IMAGE, chosen.encode()) + encode_part(Tag.MACHINE_NAME, _MACHINE_NAME)


def encode_failed() -> bytes:
    """ACK[FAILED]: this server has no such image; the Mac waits 10 s and starts again."""
    return encode_part(Tag.MESSAGE_TYPE, bytes([MessageType.FAILED]))


def encode_offer(chosen: ImageId) -> bytes:
    """The OFFER's shortcut, "this image is chosen already": the N key then skips LIST and SELECT."""
    return encode_part(Tag.SELECTED_IMAGE, chosen.encode())


def colons(raw: bytes) -> str:
    """As dhcpd and dnsmasq write bytes: `01:01:03`."""
    return raw.hex(":")


def parse(raw: bytes) -> Message:
    """Take option 43 apart. Raises ConfigError that names the byte where it is cut short."""
    parts: list[tuple[int, bytes]] = []
    at = 0
    while at < len(raw):
        if raw[at] == 0:  # RFC 2132 section 3.1, pad; dhcpd and dnsmasq may add one
            at += 1
            continue
        if raw[at] == 255:  # RFC 2132 section 3.2, end
            break
        if at + 1 == len(raw):
            raise ConfigError(f"byte {at}: sub-option {raw[at]} has no length byte")
        end = at + 2 + raw[at + 1]
        if end > len(raw):
            raise ConfigError(f"byte {at}: sub-option {raw[at]} says {raw[at + 1]} bytes, {len(raw) - at - 2} follow")
        parts.append((raw[at], raw[at + 2 : end]))
        at = end
    return Message(tuple(parts))


def _parse_images(raw: bytes) -> Iterable[Image]:
    at = 0
    while at < len(raw):
        end = at + _ENTRY + (raw[at + 4] if at + 4 < len(raw) else 0)
        if at + _ENTRY > len(raw) or end > len(raw):
            raise ConfigError(f"byte {at} of the image list: the entry is cut short")
        try:
            name = raw[at + _ENTRY : end].decode()
        except UnicodeDecodeError as wrong:
            raise ConfigError(f"byte {at} of the image list: the name is not UTF-8") from wrong
        yield Image(ImageId.decode(raw[at : at + 4]), name)
        at = end


_COMMENT = re.compile(r"(#|//).*")
_ROW = re.compile(
    r"(?<![0-9a-z.])(?:[0-9a-f]{1,2}(?:[:-]\s*|[ \t]+))+[0-9a-f]{1,2}(?![0-9a-z.])|\b(?:[0-9a-f]{2}){3,}\b"
)
_CODE = re.compile(r"(0x[0-9a-f]{1,2}),\s*(?=0x)")  # 0x01,0x01; a comma alone also stands between code and value
_CISCO = re.compile(r"\b(?:[0-9a-f]{4}\.)+(?:[0-9a-f]{2}){1,2}\b")
_LEAST = 3  # bytes: the shortest message is 01:01:03


def parse_rows(text: str) -> list[bytes]:
    """Every row of bytes in a pasted text: `01:01:02`, `0x010102`, `01 01 02`, `\\x01\\x01`, `0x01, 0x01`, Cisco's
    `0101.0208`, or lines of dhcpd, dnsmasq or Kea.

    A row goes on in the next line after a colon, and comments are left out. Raises ConfigError when there is none.
    """
    plain = "\n".join(_COMMENT.sub("", line) for line in text.lower().splitlines())
    plain = _CODE.sub(r"\1 ", plain).replace("0x", "").replace("\\x", " ")
    plain = _CISCO.sub(lambda match: match.group().replace(".", ""), plain)
    rows = []
    for match in _ROW.finditer(plain):
        row = match.group()
        pairs = re.split(r"[:\s-]+", row) if re.search(r"[:\s-]", row) else [row]
        rows.append(bytes.fromhex("".join(pair.rjust(2, "0") for pair in pairs)))
    found = [row for row in rows if len(row) >= _LEAST]
    if not found:
        raise ConfigError(
            f"there is no row of {_LEAST} bytes or more in it",
            where=text.strip()[:60],
            remedy="paste a row like 01:01:02:08:04:...",
        )
    return found
