"""Core. What rack.yml says of machine configuration: config sources, groups, host names, joining a cluster."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

JoinKind = Literal["none", "k3s", "rke2", "kubeadm", "rancher", "docker-swarm"]
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SLICE = re.compile(r"\{mac(\[(-?\d{1,2})?:(-?\d{1,2})?\])?\}")
_SECRET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SERVER = re.compile(r"(https?://)?[A-Za-z0-9.\[\]:-]+(:\d{1,5})?/?")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _source(item: str | dict[str, Any]) -> str | dict[str, Any]:
    if isinstance(item, str) and (not item or item.startswith("/") or ".." in item.split("/") or "\n" in item):
        raise ValueError(f"{item[:60]!r} must be a file below the rack's folder, like config/base.yml")
    return item


def _pattern(text: str) -> str:
    sample = fill_pattern(text, "52:54:00:12:34:56")
    if not _NAME.fullmatch(sample):
        raise ValueError(f"{text!r} gives {sample!r}, which is no host name; write it like node-{{mac[-6:]}}")
    return text


def _secret(text: str) -> str:
    text = text.removeprefix("secrets/")
    if not _SECRET.fullmatch(text):
        raise ValueError(f"{text[:20]!r} must be the name of a file in secrets/, not the secret itself")
    return text


def _server(text: str) -> str:
    if text and not _SERVER.fullmatch(text):
        raise ValueError(f"{text!r} is no server, like https://10.0.0.1:6443")
    return text


def _digest(text: str) -> str:
    if text and not _DIGEST.fullmatch(text.removeprefix("sha256:")):
        raise ValueError("a sha256 has 64 hexadecimal digits")
    return text.removeprefix("sha256:")


def fill_pattern(text: str, mac: str) -> str:
    """`node-{mac[-6:]}` with the MAC's twelve digits, cut as Python cuts strings. Raises ValueError."""
    digits = mac.replace(":", "")

    def cut(found: re.Match[str]) -> str:
        start, end = (int(part) if part else None for part in (found[2], found[3]))
        return digits[start:end]

    filled = _SLICE.sub(cut, text)
    if "{" in filled or "}" in filled:
        raise ValueError(f"{text!r}: only {{mac}} and {{mac[start:end]}} can stand in a pattern")
    return filled


ConfigSource = Annotated[str | dict[str, Any], AfterValidator(_source)]
Sources = tuple[ConfigSource, ...]
SecretName = Annotated[str, AfterValidator(_secret)]
Sha256 = Annotated[str, AfterValidator(_digest)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Join(_Strict):
    """How a machine joins the cluster.

    server: of the control plane, a URL or host:port. token: the name of a file in secrets/. version: of the agent, as
    its image or release is tagged. role: agent, or one more server. ca_hash: sha256 of the CA (kubeadm:
    discovery-token-ca-cert-hash; rancher: of /v3/settings/cacerts). url, sha256: another place for the agent's binary.
    """

    kind: JoinKind = "none"
    server: Annotated[str, AfterValidator(_server)] = ""
    token: SecretName | None = None
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$|^$")] = ""
    role: Literal["agent", "server"] = "agent"
    labels: dict[str, str] = {}
    ca_hash: Sha256 = ""
    url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    sha256: Sha256 = ""

    @model_validator(mode="after")
    def _complete(self) -> Join:
        if self.kind != "none":
            missing = [name for name in ("server", "token") if not getattr(self, name)]
            if missing:
                raise ValueError(f"join: {self.kind} needs {' and '.join(missing)}")
        return self


class Group(_Strict):
    """Nodes that share something. Its config comes after the rack's and before the node's."""

    config: Sources = ()
    join: Join | None = None


def _mac(text: str) -> str:
    digits = re.sub(r"[:.\-]", "", text.strip().lower())
    if not re.fullmatch(r"[0-9a-f]{12}", digits):
        raise ValueError(f"{text!r} is not a MAC address")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


class Hostnames(_Strict):
    """Names of machines that are not in rack.yml: by MAC, else by pattern."""

    pattern: Annotated[str, AfterValidator(_pattern)] = ""
    table: dict[Annotated[str, AfterValidator(_mac)], Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]] = {}


class ConfigNode(BaseModel):
    """What a node says of its configuration. wipe_disks: rancher.state.autoformat may format a disk of it."""

    hostname: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")] | None = None
    config: Sources = ()
    join: Join | None = None
    wipe_disks: bool = False
