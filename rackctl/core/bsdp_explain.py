"""Core. Tells a person what the bytes of a BSDP option 43 say, and what is odd about them."""

from __future__ import annotations

from dataclasses import dataclass

from rackctl.core.bsdp import GLOBAL_INDEX, OPTION_MAX, PRIORITY, ImageId, Message, MessageType, Tag, parse
from rackctl.errors import ConfigError

_NAMES = {
    Tag.MESSAGE_TYPE: "message type",
    Tag.VERSION: "BSDP version",
    Tag.SERVER_IDENTIFIER: "server identifier",
    Tag.SERVER_PRIORITY: "server priority",
    Tag.REPLY_PORT: "reply port",
    Tag.IMAGE_LIST_PATH: "image list path",
    Tag.DEFAULT_IMAGE: "default image",
    Tag.SELECTED_IMAGE: "selected image",
    Tag.IMAGE_LIST: "image list",
    Tag.NETBOOT_1_0: "NetBoot 1.0 firmware",
    Tag.ATTRIBUTES_FILTER: "attributes filter",
    Tag.MAX_MESSAGE_SIZE: "largest message",
    Tag.SHADOW_MOUNT_URL: "shadow mount URL",
    Tag.SHADOW_FILE_PATH: "shadow file path",
    Tag.MACHINE_NAME: "machine name",
}
_KINDS = {0: "Mac OS 9", 1: "Mac OS X", 2: "Mac OS X Server", 3: "diagnostics"}
_LENGTHS = {Tag.MESSAGE_TYPE: 1, Tag.VERSION: 2, Tag.SERVER_IDENTIFIER: 4, Tag.SERVER_PRIORITY: 2, Tag.REPLY_PORT: 2}
_TEXTS = (Tag.IMAGE_LIST_PATH, Tag.SHADOW_MOUNT_URL, Tag.SHADOW_FILE_PATH, Tag.MACHINE_NAME)
_LOW_PORT = 1024  # Apple's server stays silent for a reply port from here on (BSDP.doc)


@dataclass(frozen=True)
class Row:
    """bytes: of one sub-option, in colon form; name: the sub-option's; says: its value, in words."""

    bytes: str
    name: str
    says: str


@dataclass(frozen=True)
class Explained:
    """kind: what the message is; rows: each sub-option; remarks: what a Mac would stumble over."""

    kind: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]


def explain(raw: bytes) -> Explained:
    """Every sub-option with its meaning; a fault becomes a remark, since what people paste is often broken."""
    remarks: list[str] = []
    whole = len(raw)
    message = Message(())
    while whole:  # read what comes before the fault
        try:
            message = parse(raw[:whole])
            break
        except ConfigError as wrong:
            if whole == len(raw):
                remarks.append(wrong.message)
            whole -= 1
    rows = tuple(_row(tag, value) for tag, value in message.parts)
    return Explained(_kind(message), rows, (*remarks, *_remarks(message, raw)))


def _row(tag: int, value: bytes) -> Row:
    shown = (bytes([tag, len(value)]) + value).hex(":")
    return Row(shown, _NAMES[Tag(tag)] if tag in set(Tag) else f"unknown sub-option {tag}", _says(tag, value))


def _says(tag: int, value: bytes) -> str:
    number = int.from_bytes(value, "big")
    wanted = _LENGTHS.get(Tag(tag)) if tag in set(Tag) else None
    if wanted is not None and len(value) != wanted:
        return f"{len(value)} bytes, must be {wanted}"
    if tag == Tag.MESSAGE_TYPE:
        return MessageType(number).name if number in set(MessageType) else f"unknown type {number}"
    if tag == Tag.VERSION:
        return f"{value[0]}.{value[1]}"
    if tag == Tag.SERVER_IDENTIFIER:
        return ".".join(map(str, value))
    if tag in (Tag.SERVER_PRIORITY, Tag.REPLY_PORT):
        return str(number)
    if tag == Tag.MAX_MESSAGE_SIZE:
        return f"{number} bytes"
    if tag in (Tag.DEFAULT_IMAGE, Tag.SELECTED_IMAGE):
        return _image_id(value)
    if tag == Tag.IMAGE_LIST:
        return _image_list(value)
    if tag == Tag.ATTRIBUTES_FILTER:
        return ", ".join(f"0x{value[i : i + 2].hex()}" for i in range(0, len(value), 2))
    return repr(value.decode(errors="replace")) if tag in _TEXTS else f"{len(value)} bytes"


def _image_id(value: bytes) -> str:
    if value == bytes(4):
        return "the null image"
    try:
        found = ImageId.decode(value)
    except ConfigError as wrong:
        return wrong.message
    scope = "on every server" if found.index >= GLOBAL_INDEX else "of this server"
    kind = _KINDS.get(found.kind, f"kind {found.kind}")
    return f"{value.hex()}: {'install' if found.install else 'boot'}, {kind}, index {found.index} ({scope})"


def _image_list(value: bytes) -> str:
    try:
        images = Message(((Tag.IMAGE_LIST, value),)).images
    except ConfigError as wrong:
        return wrong.message
    return "; ".join(f"{image.name!r} is {_image_id(image.id.encode())}" for image in images) or "empty"


def _kind(message: Message) -> str:
    client = message.get(Tag.VERSION) is not None
    if message.type is None:
        if client:
            return "DISCOVER of a Mac (N key)"
        chosen = message.get(Tag.SELECTED_IMAGE) is not None
        return "OFFER with an image chosen (N key's shortcut)" if chosen else "no BSDP message"
    if message.type is MessageType.FAILED:
        return "ACK[FAILED]: the server has no such image"
    return f"INFORM[{message.type.name}] of a Mac" if client else f"ACK[{message.type.name}] of a server"


def _remarks(message: Message, raw: bytes) -> list[str]:
    found = []
    if len(raw) > OPTION_MAX:
        found.append(f"{len(raw)} bytes do not fit one DHCP option 43 ({OPTION_MAX})")
    try:
        listed = {image.id.encode() for image in message.images}
    except ConfigError as wrong:
        return [*found, wrong.message]
    default = message.get(Tag.DEFAULT_IMAGE)
    selected = message.get(Tag.SELECTED_IMAGE)
    client = message.get(Tag.VERSION) is not None
    if message.type is MessageType.LIST and not client:
        if not listed:
            found.append("an ACK[LIST] without an image list is dropped by Apple's client")
        if default is not None and default not in listed:
            found.append("the default image is not in the list")
        if selected is not None:
            known = "" if selected in listed else ", and it is not in the list"
            found.append(f"an image is marked as chosen already: the Mac does not ask{known}")
    if message.type is MessageType.SELECT and selected is None:
        found.append("a SELECT names its image in sub-option 8, which is missing")
    if bytes(4) in (default, selected):
        found.append("the null image (00:00:00:00) must never be sent")
    port = message.get(Tag.REPLY_PORT)
    if port and int.from_bytes(port, "big") >= _LOW_PORT:
        found.append(f"Apple's server does not answer to a reply port from {_LOW_PORT} on")
    priority = message.get(Tag.SERVER_PRIORITY)
    if priority and int.from_bytes(priority, "big") > PRIORITY:
        found.append(f"the priority is above Apple's own ({PRIORITY}): this server wins over theirs")
    return found
