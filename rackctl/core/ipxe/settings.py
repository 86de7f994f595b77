"""Core. The `ipxe:` section of rack.yml."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rackctl.core.ipxe.binaries import BINARIES
from rackctl.core.ipxe.features import COMMANDS, PROTOCOLS, Feature, feature_name
from rackctl.core.ipxe.signed import SIGNED

CA_KEY, CA_CERTIFICATE = "secrets/ca.key", "secrets/ca.pem"  # of the rack's own CA, below its folder
# Baud. What both UARTs and BMCs' Serial over LAN have.
Speed = Literal[9600, 19200, 38400, 57600, 115200]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _console(value: object) -> object:
    """`console: serial` is short for `console: {serial: COM1}`."""
    return {"serial": "COM1"} if value == "serial" else value


def _https(value: object) -> object:
    """`https: true` is short for port 443, and false for none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


def _section(value: object) -> object:
    """`ipxe: auto` is short for `ipxe: {source: auto}`."""
    return {"source": value} if isinstance(value, str) else value


def _name(word: str, table: Mapping[str, Feature], what: str) -> str:
    name = feature_name(word, table)
    if name is None:
        near = difflib.get_close_matches(word, table, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"iPXE has no {what} {word!r}; {hint}known: {', '.join(sorted(table))}")
    return name


def _command(word: str) -> str:
    return _name(word, COMMANDS, "command")


def _protocol(word: str) -> str:
    return _name(word, PROTOCOLS, "protocol")


def _target(name: str) -> str:
    if name not in BINARIES:
        raise ValueError(f"there is no target {name!r}; known: {', '.join(BINARIES)}")
    return name


def _inside(path: str) -> str:
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        raise ValueError(f"{path!r} must lie below the rack's folder")
    return path


class Console(_Strict):
    """Where iPXE writes besides the screen. serial: the port that a BMC's Serial over LAN shows; speed in baud."""

    serial: Literal["COM1", "COM2", "COM3", "COM4"] | None = None
    speed: Speed = 115200
    framebuffer: Annotated[bool, Field(strict=True)] | None = None


class Https(_Strict):
    """TLS for what iPXE itself loads: script, kernel, initrd."""

    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 443


Switch = Annotated[bool, Field(strict=True)]
RackPath = Annotated[str, Field(min_length=1), AfterValidator(_inside)]


class IpxeSettings(_Strict):
    """How iPXE is built. script, trust and patches are paths below the rack's folder."""

    source: Annotated[str, Field(min_length=1)] = "auto"
    ref: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    targets: tuple[Annotated[str, AfterValidator(_target)], ...] = ()
    console: Annotated[Console, BeforeValidator(_console)] = Console()
    https: Annotated[Https | None, BeforeValidator(_https)] = None
    vlan: Annotated[int, Field(ge=1, le=4094, strict=True)] | None = None  # IEEE 802.1Q-2018 table 9-2
    commands: dict[Annotated[str, AfterValidator(_command)], Switch] = {}
    protocols: dict[Annotated[str, AfterValidator(_protocol)], Switch] = {}
    script: RackPath | None = None
    trust: tuple[RackPath, ...] = ()
    patches: RackPath | None = None

    @model_validator(mode="after")
    def _agrees(self) -> IpxeSettings:
        if self.https and self.protocols.get("https") is False:
            raise ValueError("https is asked for, and protocols turns it off")
        if self.vlan and self.commands.get("vlan") is False:
            raise ValueError("a vlan is given, and commands turns vlan off")
        if self.console.framebuffer and self.commands.get("console") is False:
            raise ValueError("a framebuffer is asked for, and commands turns off console, which chooses it")
        if self.source == SIGNED and (not self.is_plain or self.targets):
            raise ValueError("signed binaries are as upstream made them: leave out all but source and script")
        if self.script and self.vlan:
            raise ValueError("a script of your own creates its VLAN itself: leave out vlan")
        return self

    @property
    def command_changes(self) -> dict[str, bool]:
        """What is turned on or off, with what other settings need."""
        needed = {"vlan": self.vlan, "console": self.console.framebuffer}  # which is chosen by `console --x ...`
        return {**{name: True for name, on in needed.items() if on}, **self.commands}

    @property
    def protocol_changes(self) -> dict[str, bool]:
        """As `command_changes`."""
        return {**({"https": True} if self.https or self.trust else {}), **self.protocols}

    @property
    def is_plain(self) -> bool:
        """Whether iPXE is as upstream has it: what Debian's binaries can stand in for."""
        build = (self.console != Console(), self.https, self.vlan, self.commands, self.protocols)
        return not any((*build, self.trust, self.patches, self.ref))


IpxeSection = Annotated[IpxeSettings, BeforeValidator(_section)]
