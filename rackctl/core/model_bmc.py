"""Core. The `bmc:` sections of rack.yml: how a machine's power is reached. A password is named here, never written."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?")  # never a leading '-': an option
_SECRET = re.compile(r"secrets/[A-Za-z0-9][A-Za-z0-9._-]*|env:[A-Za-z_][A-Za-z0-9_]*|prompt")
_PRINT = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"[^\s\0-\x1f-][^\0-\x1f]{0,63}")

Driver = Literal["auto", "ipmi", "redfish", "wol", "command", "lab"]

# The keys that a driver reads beside `driver` and `groups`; any other one there is a mistake worth telling.
_COMMON = {"driver", "timeout", "wait"}
_LOGIN = {"address", "port", "user", "password"}
_IPMI = {"cipher", "privilege"}
_REDFISH = {"ca", "fingerprint", "verify", "system", "tls"}
_WOL = {"broadcast", "secureon", "port"}
_COMMAND = {"on", "off", "soft", "cycle", "reset", "status", "bootdev", "password"}
_READS: dict[str, set[str]] = {
    "auto": _LOGIN | _IPMI | _REDFISH | _WOL,
    "ipmi": _LOGIN | _IPMI,
    "redfish": _LOGIN | _REDFISH,
    "wol": _WOL,
    "command": _COMMAND,
    "lab": set(),
}


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is neither an address nor a host name")
    return text


def _secret(text: str) -> str:
    if not _SECRET.fullmatch(text):
        # What stands there may be the password itself: it is not repeated.
        raise ValueError("a secret is named, never written here: secrets/FILE, env:NAME or prompt")
    return text


def _fingerprint(text: str) -> str:
    digits = text.lower().removeprefix("sha256:").replace(":", "")
    if not _PRINT.fullmatch(digits):
        raise ValueError("a fingerprint is the certificate's SHA-256, 64 hex digits with or without colons")
    return digits


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError("a user's name does not begin with '-' or a blank, and has no control characters")
    return text


Host = Annotated[str, AfterValidator(_host)]
Secret = Annotated[str, AfterValidator(_secret)]
Words = Annotated[tuple[str, ...], Field(min_length=1)]


class Bmc(BaseModel):
    """How to reach one machine's power.

    timeout: seconds for one question to the BMC; wait: seconds for the machine to reach the state that was asked for.
    cipher: IPMI 2.0 cipher suite, 17 (HMAC-SHA256) or 3 (HMAC-SHA1); without it 17 first, then 3 with a warning.
    The words of the driver `command` may hold {node} and {mac}; its `status` prints `on` or `off`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver: Driver = "auto"
    address: Host | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: Annotated[str, AfterValidator(_user)] | None = None
    password: Secret | None = None
    timeout: Annotated[float, Field(ge=1, le=120)] = 8.0
    wait: Annotated[float, Field(ge=0, le=1800)] = 60.0
    cipher: Literal[3, 17] | None = None
    privilege: Literal["ADMINISTRATOR", "OPERATOR", "USER"] = "ADMINISTRATOR"
    tls: bool = True
    verify: bool = True
    ca: str | None = None
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = None
    system: str | None = None
    broadcast: Host | None = None
    secureon: Secret | None = None
    on: Words | None = None
    off: Words | None = None
    soft: Words | None = None
    cycle: Words | None = None
    reset: Words | None = None
    status: Words | None = None
    bootdev: Words | None = None

    @model_validator(mode="after")
    def _fits_the_driver(self) -> Bmc:
        stray = self.model_fields_set - _READS[self.driver] - _COMMON
        if stray:
            raise ValueError(f"the driver {self.driver} does not read {', '.join(sorted(stray))}")
        if self.driver == "command" and not (self.on or self.off or self.status or self.cycle):
            raise ValueError("the driver command needs at least one of on, off, cycle, status")
        if not self.verify and (self.ca or self.fingerprint):
            raise ValueError("verify: false contradicts ca and fingerprint; leave it out")
        return self

    def over(self, defaults: Bmc | None) -> Bmc:
        """This section laid over the rack's own `bmc:`; keys that this driver does not read are left behind."""
        if defaults is None:
            return self
        mine = {name: getattr(self, name) for name in self.model_fields_set}
        theirs = {name: getattr(defaults, name) for name in defaults.model_fields_set}
        driver = mine.get("driver", theirs.get("driver", "auto"))
        merged = {k: v for k, v in {**theirs, **mine}.items() if k in mine or k in _READS[driver] | _COMMON}
        return Bmc.model_validate(merged)
