"""Core. rack.yml as frozen values; unknown keys are refused, MACs are normalised once, here."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from rackctl.core.catalog import Catalog
from rackctl.core.configmodel import ConfigNode, Group, Hostnames, Join, Sources
from rackctl.core.dhcp.arch import Loader
from rackctl.core.dhcp.settings import Address as NodeAddress
from rackctl.core.dhcp.settings import DhcpSection, DhcpSettings
from rackctl.core.ipxe.settings import IpxeSection, IpxeSettings
from rackctl.core.ipxe.signed import RELEASE, SIGNED, VERSION
from rackctl.core.macmodel import MacNode, MacSettings
from rackctl.core.model_bmc import Bmc
from rackctl.core.overlay import InitrdOverlay
from rackctl.errors import ConfigError

_MAC_DIGITS = re.compile(r"[0-9a-f]{12}")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 section 2.1, one label
_KEY_SOURCE = re.compile(r"github:[A-Za-z0-9][A-Za-z0-9-]{0,38}|[^\s:]+\.pub")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def parse_mac(text: str) -> str:
    """A MAC in colon form, lower case, from `aa:bb:..`, `aa-bb-..`, `aabb.ccdd.eeff` or twelve digits.

    Raises ValueError for anything else, and for multicast addresses and zeros alone, which no card has.
    """
    digits = re.sub(r"[:.\-]", "", text.strip().lower())
    if not _MAC_DIGITS.fullmatch(digits):
        raise ValueError(f"{text!r} is not a MAC address; it has six pairs of hex digits, like 52:54:00:12:34:56")
    if int(digits[:2], 16) & 1:
        raise ValueError(f"{text!r} is a multicast address; no network card has it")
    if not int(digits, 16):
        raise ValueError(f"{text!r} is the address of no network card; is it one whose firmware lost its own?")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def hyphenate(mac: str) -> str:
    """`52:54:00:12:34:56` as iPXE's ${mac:hexhyp} writes it."""
    return mac.replace(":", "-")


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not an IPv4 address") from wrong


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not an address or network, like 192.168.1.0/24: {wrong}") from wrong


def _hostname(text: str) -> str:
    if not _HOSTNAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name; use a-z, 0-9 and '-', at most 63 characters")
    return text


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is not a version; use letters, digits, '.', '_' and '-'")
    return text


def _ssh_key(text: str) -> str:
    if _KEY_SOURCE.fullmatch(text):
        return text
    fields = text.split()
    if len(fields) < 2 or "\n" in text.strip() or not re.fullmatch(r"(ssh-|ecdsa-|sk-)[\w@.-]+", fields[0]):
        raise ValueError(
            f"{text[:30]!r}... is not an SSH public key; paste one line of ~/.ssh/*.pub, "
            "name a .pub file, or github:USER"
        )
    return text.strip()


# RFC 1918, loopback and link-local: who may see the status page unless rack.yml says otherwise.
PRIVATE_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")

Network = Annotated[str, AfterValidator(_network)]
Mac = Annotated[str, AfterValidator(parse_mac)]
Address = Annotated[str, AfterValidator(_address)]
Hostname = Annotated[str, AfterValidator(_hostname)]
Version = Annotated[str, AfterValidator(_version)]
SshKey = Annotated[str, AfterValidator(_ssh_key)]
OsName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]{0,40}$")]


def os_path(name: str, version: str, arch: str) -> str:
    """Where an OS release lies below `os/`."""
    return f"{name}/{version}" + ("" if arch == "amd64" else f"-{arch}")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(_Strict):
    """The master as nodes see it."""

    address: Address
    http_port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 83  # strict: `true` is no port
    network: Literal["host", "bridge"] = "host"


class OsRef(_Strict):
    """An OS by name, version and processor."""

    name: OsName = "discovery"
    version: Version = "builtin"
    arch: Literal["amd64", "arm64"] = "amd64"

    @model_validator(mode="after")
    def _is_in_the_catalog(self, info: ValidationInfo) -> OsRef:
        catalog = (info.context or {}).get("catalog") or Catalog()
        try:
            entry = catalog.get(self.name)
        except ConfigError as unknown:
            raise ValueError(str(unknown)) from unknown
        if self.version == "builtin" != entry.default:
            raise ValueError(f"{self.name} needs a version, like {entry.default}")
        if self.arch not in entry.architectures:
            raise ValueError(f"{self.name} is not there for {self.arch}, only for {', '.join(entry.architectures)}")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other."""
        return self.name, self.version, self.arch

    @property
    def path(self) -> str:
        """Where it lies below `os/`, once its version is exact."""
        return os_path(*self.key)


class Node(MacNode, ConfigNode):
    """One machine to boot."""

    mac: Mac
    os: OsRef | None = None
    # always: the network each time; once: until it checked in as installed, then its disk; reinstall: once more.
    boot: Literal["always", "once", "local", "reinstall"] = "always"
    address: NodeAddress | None = None
    firmware: Literal["bios", "uefi"] | None = None
    loader: Loader | None = None  # whatever name DHCP tells it, it gets this one of the two
    groups: tuple[Hostname, ...] = ()
    bmc: Bmc | None = None
    initrd_overlays: tuple[InitrdOverlay, ...] = ()


class Rack(_Strict):
    """One rack.yml."""

    server: Server
    os: OsRef = OsRef()
    # What a machine gets that is not in `nodes`: the discovery OS, `os`, its disk, or its disk and no mention anywhere.
    unknown: Literal["discover", "boot", "local", "ignore"] = "discover"
    # What the discovery OS does after its report: wait (SSH, shell), reboot once rack.yml has the machine, poweroff.
    discovered: Literal["wait", "reboot", "poweroff"] = "wait"
    status: bool = False  # the container that keeps the status page live
    status_allow: tuple[Network, ...] = PRIVATE_NETWORKS
    ipxe: IpxeSection = IpxeSettings()
    ssh_authorized_keys: tuple[SshKey, ...] = ()
    kernel_args: tuple[str, ...] = ()
    initrd_overlays: tuple[InitrdOverlay, ...] = ()
    mac: MacSettings = MacSettings()
    dhcp: DhcpSection = DhcpSettings()
    bmc: Bmc | None = None
    config: Sources = ()
    groups: dict[str, Group] = {}
    hostnames: Hostnames = Hostnames()
    join: Join = Join()
    nodes: dict[Hostname, Node] = {}

    @model_validator(mode="after")
    def _bmcs_merge(self) -> Rack:
        for name in self.nodes:
            try:
                self.bmc_of(name)
            except ValueError as wrong:
                reason = str(wrong).splitlines()[-2 if "For further" in str(wrong) else -1].strip()
                raise ValueError(f"the bmc of {name}, with the rack's own laid under it: {reason}") from wrong
        return self

    @model_validator(mode="after")
    def _loaders_by_mac(self) -> Rack:
        own = [name for name, node in self.nodes.items() if node.loader]
        if own and self.server.network == "bridge":
            raise ValueError(f"the loader of {own[0]} needs server.network: host; behind a bridge TFTP sees no MAC")
        return self

    def os_of(self, node: Node | None) -> OsRef:
        """The OS that a node boots: its own, else the rack's; None is any machine that is not in rack.yml."""
        if node is None and self.unknown != "boot":
            return OsRef(name="discovery" if self.unknown == "discover" else "local")
        os = node.os if node and node.os else self.os
        return OsRef(name="local") if node and node.boot == "local" else os

    def bmc_of(self, name: str) -> Bmc | None:
        """How to reach that node's power: its own `bmc:` over the rack's. None when rack.yml does not say."""
        own = self.nodes[name].bmc
        return own.over(self.bmc) if own else None

    def overlays_of(self, node: Node | None) -> tuple[InitrdOverlay, ...]:
        """What is added to the initrd of a machine: the rack's, then its own."""
        return (*self.initrd_overlays, *(node.initrd_overlays if node else ()))

    def os_releases(self) -> tuple[OsRef, ...]:
        """Every OS that some machine of this rack can boot, each once, and signed iPXE where it is asked for."""
        found = [self.os, self.os_of(None), *(self.os_of(node) for node in self.nodes.values())]
        if self.ipxe.source == SIGNED:
            found.append(OsRef(name=RELEASE, version=VERSION))
        return tuple({o.key: o for o in found}.values())

    def with_loaders(self, loaders: Mapping[str, Loader]) -> Rack:
        """The same rack with other loaders for some nodes."""
        changed = {name: self.nodes[name].model_copy(update={"loader": loader}) for name, loader in loaders.items()}
        return self.model_copy(update={"nodes": {**self.nodes, **changed}})

    def with_versions(self, exact: Mapping[tuple[str, str, str], str]) -> Rack:
        """The same rack with each version that was worded as a wish, like `v1.5.x`, replaced by the one it meant.

        exact: by an OsRef's key.
        """

        def settle(os: OsRef) -> OsRef:
            return os.model_copy(update={"version": exact.get(os.key, os.version)})

        nodes = {n: node.model_copy(update={"os": node.os and settle(node.os)}) for n, node in self.nodes.items()}
        return self.model_copy(update={"os": settle(self.os), "nodes": nodes})
