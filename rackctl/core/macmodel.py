"""Core. The keys of rack.yml that are about Macs: those of a node, and the `mac:` section."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from rackctl.core.bsdp import INDEX_MAX, Image, ImageId
from rackctl.core.macs import Efi, efi_width, netboot_refusal, parse_model, stick_refusal
from rackctl.errors import ConfigError

_MACOS = re.compile(r"(10\.\d{1,2}|1[1-9]|2\d)(\.\d{1,2}){0,2}", re.ASCII)
_LOGIN = re.compile(r"([a-z_][a-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9.-]*", re.IGNORECASE)  # never a leading '-': an option
_FIRST_INDEX = 1


def _macos(text: object) -> str:
    if not isinstance(text, str):  # YAML reads 10.10 as the number 10.1
        raise ValueError(f"write the version in quotes: '{text}'")
    if not _MACOS.fullmatch(text):
        raise ValueError(f"{text!r} is not a version of macOS, like '10.13'")
    return text


def _login(text: str) -> str:
    if not _LOGIN.fullmatch(text):
        raise ValueError(f"{text!r} is not a login, like admin@mini1.example")
    return text


def _label(text: str) -> str:
    try:
        Image(ImageId(_FIRST_INDEX), text).encode()
    except ConfigError as wrong:
        raise ValueError(wrong.message) from wrong
    return text


Label = Annotated[str, AfterValidator(_label)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MacNode(_Strict):
    """The keys of a node that is a Mac."""

    apple: bool = False
    mac_model: Annotated[str, AfterValidator(parse_model)] | None = None
    mac_efi: Efi | None = None
    mac_boot: Literal["network", "stick"] = "network"
    macos: Annotated[str, BeforeValidator(_macos)] | None = None
    ssh: Annotated[str, AfterValidator(_login)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> MacNode:
        given = [key for key in ("mac_efi", "mac_boot", "macos") if key in self.model_fields_set]
        if given and not self.is_mac:
            raise ValueError(f"{', '.join(given)}: only for a Mac; write its mac_model too, or apple: true")
        return self

    @model_validator(mode="after")
    def _can_boot(self) -> MacNode:
        refusal = netboot_refusal if self.mac_boot == "network" else stick_refusal
        if self.mac_model and (reason := refusal(self.mac_model)):
            raise ValueError(f"{self.mac_model} cannot be a node: {reason}")
        return self

    @property
    def is_mac(self) -> bool:
        """Whether rack.yml says that this machine is a Mac."""
        return self.apple or self.mac_model is not None

    @property
    def efi(self) -> Efi:
        """The EFI of its firmware: as rack.yml says, else as its model has it, else x86_64."""
        return self.mac_efi or efi_width(self.mac_model or "")


class MacSettings(_Strict):
    """The `mac:` section.

    bsdp: run a responder beside the network's DHCP server. form: what DHCP servers are told (full: icon and name in the
    picker; simple: the N key of the oldest; both). label: of the icon that boots what rack.yml says. icon_per_os: one
    more icon for each OS release. index: of the first image; the same one from 4096 on makes two servers one icon.
    loader: ipxe has drivers of its own, snponly uses the firmware's. fat: one universal binary for both widths.
    """

    bsdp: bool = False
    form: Literal["full", "simple", "both"] = "full"
    label: Label = "iPXE"
    icon_per_os: bool = False
    index: Annotated[int, Field(ge=1, le=INDEX_MAX)] = _FIRST_INDEX
    loader: Literal["ipxe", "snponly"] = "ipxe"
    fat: bool = False

    @field_validator("index")
    @classmethod
    def _room_for_more(cls, index: int) -> int:
        if index > INDEX_MAX - 32:
            raise ValueError(f"{index} leaves no room for further images; 1 to {INDEX_MAX - 32} do")
        return index
