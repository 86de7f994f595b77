"""Adapter: the driver `redfish`, over sushy, which knows the quirks of iLO, iDRAC, Supermicro and OpenBMC."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rackctl.adapters.bounded import TOO_LARGE, Bounded
from rackctl.adapters.stepping import run_orders
from rackctl.core.model_bmc import Bmc
from rackctl.core.power import BmcFault, Fault, Order, Outcome, Verb, Watch
from rackctl.errors import ConfigError

_INSTALL = "pip install 'rackctl[redfish]', or pipx inject rackctl sushy"
_FORCED_OFF_PAUSE = 2.0
_LOG_ENTRIES = 10_000  # of one log; BMCs keep some thousand
_LOG_PAGES = 1000
_T = TypeVar("_T")


class Redfish:
    """The driver `redfish`. folder: what bmc.ca is relative to. Raises ConfigError when sushy is not installed."""

    def __init__(self, folder: Path) -> None:
        try:
            import sushy
        except ImportError as absent:
            raise ConfigError("Redfish needs the library sushy", remedy=_INSTALL) from absent
        # sushy writes to the root logger's last resort, which is the user's terminal.
        logging.getLogger("sushy").addHandler(logging.NullHandler())
        logging.getLogger("sushy").propagate = False
        self.sushy: Any = sushy
        self.folder = folder

    def carry_out(self, orders: Sequence[Order], watch: Watch) -> None:
        """See Driver."""
        run_orders("redfish", orders, partial(_Machine, self.sushy, self.folder), watch)


class _Machine:
    def __init__(self, sushy: Any, folder: Path, order: Order) -> None:
        self.sushy = sushy
        self.order = order
        bmc = order.bmc
        if not bmc.address:
            raise BmcFault(Fault.LOCAL, "bmc.address is missing")
        self.auth = sushy.auth.SessionOrBasicAuth(bmc.user or "", order.password or "")
        self.root = self._try(lambda: _open(sushy, folder, bmc, self.auth))
        try:
            self.system = self._try(self._find_system)
        except BmcFault:
            self.close()
            raise

    def _try(self, ask: Callable[[], _T]) -> _T:
        """One question, its failure in our words."""
        errors = self.sushy.exceptions
        try:
            return ask()
        except errors.AccessError as wrong:
            if getattr(wrong, "status_code", 401) == 403:
                raise BmcFault(Fault.PRIVILEGE, "the user may not do this (403)") from wrong
            raise BmcFault(Fault.AUTH, "wrong user or password (401)") from wrong
        except errors.ResourceNotFoundError as wrong:
            raise BmcFault(Fault.UNSUPPORTED, f"not there (404): {_short(wrong)}") from wrong
        except errors.ConnectionError as wrong:
            raise _connection_fault(wrong, self.order.bmc) from wrong
        except errors.ServerSideError as wrong:
            code = getattr(wrong, "status_code", 500)
            fault = {501: Fault.UNSUPPORTED, 503: Fault.BUSY, 504: Fault.TIMEOUT}.get(code, Fault.REFUSED)
            raise BmcFault(fault, f"the BMC answers {code}: {_short(wrong)}") from wrong
        except (errors.MissingActionError, errors.MissingAttributeError, errors.InvalidParameterValueError) as wrong:
            raise BmcFault(Fault.UNSUPPORTED, _short(wrong)) from wrong
        except errors.SushyError as wrong:
            raise BmcFault(Fault.REFUSED, _short(wrong)) from wrong
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as wrong:
            # Members that are absent or of another type, here or in sushy: one odd BMC must not end a whole batch.
            raise BmcFault(Fault.REFUSED, f"it answers, but not as Redfish does: {_short(wrong)}") from wrong

    def _find_system(self) -> Any:
        if self.order.bmc.system:
            return self.root.get_system(self.order.bmc.system)
        found = self.root.get_system_collection().get_members()
        if not found:
            raise BmcFault(Fault.UNSUPPORTED, "it shows no system")
        if len(found) != 1:
            paths = ", ".join(one.path for one in found)
            raise BmcFault(Fault.LOCAL, f"it has {len(found)} systems: set bmc.system to one of {paths}")
        return found[0]

    def close(self) -> None:
        """Log out: BMCs have few sessions, and keep those that nobody ends for half an hour."""
        with contextlib.suppress(self.sushy.exceptions.SushyError):
            self.auth.close()

    def read_state(self) -> str:
        self._try(lambda: self.system.refresh(force=True))
        state = self.system.power_state
        states = self.sushy.PowerState
        return {states.ON: "on", states.OFF: "off", states.POWERING_ON: "off", states.POWERING_OFF: "on"}.get(state, "")

    def send(self, verb: Verb) -> tuple[str, ...]:
        kinds = self.sushy.ResetType
        if verb is Verb.CYCLE and not self._allows(kinds.POWER_CYCLE):
            # Many BMCs have no PowerCycle: off and on is what it would do.
            self._reset(kinds.FORCE_OFF)
            self._wait_off()
            self._reset(kinds.ON)
            return ("this BMC has no PowerCycle: switched off, then on",)
        kind = {Verb.ON: kinds.ON, Verb.OFF: kinds.FORCE_OFF, Verb.SOFT: kinds.GRACEFUL_SHUTDOWN,
                Verb.CYCLE: kinds.POWER_CYCLE, Verb.RESET: kinds.FORCE_RESTART}[verb]  # fmt: skip
        self._reset(kind)
        return ()

    def _allows(self, kind: Any) -> bool:
        return kind in self._try(self.system.get_allowed_reset_system_values)

    def _reset(self, kind: Any) -> None:
        self._try(lambda: self.system.reset_system(kind))

    def _wait_off(self) -> None:
        limit = time.monotonic() + self.order.bmc.wait
        while self.read_state() != "off":
            if time.monotonic() > limit:
                raise BmcFault(Fault.IGNORED, "it was switched off for a cycle and stayed on")
            time.sleep(_FORCED_OFF_PAUSE / 2)

    def read(self, order: Order) -> Outcome:
        reads: Mapping[Verb, Callable[[], Outcome]] = {
            Verb.BOOTDEV: self._set_boot_device, Verb.SENSORS: self._sensors, Verb.SEL: self._events,
            Verb.SEL_CLEAR: self._clear_events, Verb.CHECK: self._check,
        }  # fmt: skip
        return self._try(reads[order.verb])

    def _set_boot_device(self) -> Outcome:
        order, sushy = self.order, self.sushy
        target = {"pxe": sushy.BootSource.PXE, "disk": sushy.BootSource.HDD, "bios": sushy.BootSource.BIOS_SETUP}
        enabled = sushy.BootSourceOverrideEnabled
        wanted = {"target": target[order.device], "enabled": enabled.CONTINUOUS if order.persistent else enabled.ONCE}
        allowed = self._try(self.system.get_allowed_system_boot_source_values)
        if wanted["target"] not in allowed:
            shown = ", ".join(sorted(one.value for one in allowed))
            raise BmcFault(Fault.UNSUPPORTED, f"it cannot be told to boot {wanted['target'].value}; it takes {shown}")
        modes, warnings = sushy.BootSourceOverrideMode, []
        mode = None if order.efi is None else modes.UEFI if order.efi else modes.LEGACY
        try:
            self._try(lambda: self.system.set_system_boot_options(**wanted, mode=mode))
        except BmcFault as fault:
            if mode is None or fault.fault is not Fault.REFUSED:
                raise
            # Some BMCs refuse a mode that they cannot change; others need it. Without it is the second choice.
            self._try(lambda: self.system.set_system_boot_options(**wanted))
            warnings.append(f"the BMC refuses the boot mode {mode.value}: left as it is")
            mode = None
        self._try(lambda: self.system.refresh(force=True))
        boot = self.system.boot
        if boot.target != wanted["target"]:
            shown = getattr(boot.target, "value", boot.target)
            raise BmcFault(Fault.IGNORED, f"asked for {order.device}, the BMC says {shown}")
        if boot.enabled != wanted["enabled"]:
            warnings.append(f"the BMC says that it is {getattr(boot.enabled, 'value', boot.enabled)}")
        if mode is not None and boot.mode != mode:
            warnings.append(f"the BMC's boot mode is {getattr(boot.mode, 'value', boot.mode)}")
        return Outcome(order.node, order.verb, text=order.device, warnings=tuple(warnings))

    def _get(self, path: str) -> dict[str, Any]:
        found = self._try(lambda: self.system._conn.get(path).json())
        return found if isinstance(found, dict) else {}

    def _linked(self, kind: str) -> list[str]:
        links = self.system.json.get("Links", {})
        return [one["@odata.id"] for one in links.get(kind, ()) if "@odata.id" in one]

    def _sensors(self) -> Outcome:
        rows: list[Mapping[str, str]] = []
        for chassis in self._linked("Chassis"):
            found = self._get(chassis)
            thermal = self._get(found["Thermal"]["@odata.id"]) if "Thermal" in found else {}
            power = self._get(found["Power"]["@odata.id"]) if "Power" in found else {}
            rows += [_row(one, "ReadingCelsius", "degrees C") for one in thermal.get("Temperatures", ())]
            rows += [_row(one, "Reading", str(one.get("ReadingUnits", "RPM"))) for one in thermal.get("Fans", ())]
            rows += [_row(one, "ReadingVolts", "Volts") for one in power.get("Voltages", ())]
            rows += [_row(one, "PowerConsumedWatts", "Watts") for one in power.get("PowerControl", ())]
            if not rows and "Sensors" in found:
                for member in self._get(found["Sensors"]["@odata.id"]).get("Members", ()):
                    one = self._get(member["@odata.id"])
                    rows.append(_row(one, "Reading", str(one.get("ReadingUnits", ""))))
        if not rows:
            raise BmcFault(Fault.UNSUPPORTED, "it lists no sensors")
        return Outcome(self.order.node, self.order.verb, text=f"{len(rows)} sensors", rows=tuple(rows))

    def _logs(self) -> list[dict[str, Any]]:
        found = []
        for owner in [self.system.path, *self._linked("ManagedBy")]:
            services = self._get(owner).get("LogServices", {}).get("@odata.id")
            members = self._get(services).get("Members", ()) if services else ()
            found += [self._get(member["@odata.id"]) for member in members]
        if not found:
            raise BmcFault(Fault.UNSUPPORTED, "it keeps no event log that Redfish shows")
        return found

    def _events(self) -> Outcome:
        rows, cut = [], False
        for log in self._logs():
            entries, more = self._entries(log["Entries"]["@odata.id"]) if "Entries" in log else ([], False)
            cut |= more
            for entry in entries:
                one = entry if "Message" in entry or "Created" in entry else self._get(entry["@odata.id"])
                date, _, clock = str(one.get("Created", "")).partition("T")
                kind = one.get("SensorType") or log.get("Id", "")
                found = {"id": one.get("Id", ""), "date": date, "time": clock, "sensor": kind,
                         "event": one.get("Message", ""), "direction": one.get("Severity", "")}  # fmt: skip
                rows.append({key: str(value) for key, value in found.items()})
        warnings = ("a log goes on after what is shown",) if cut else ()
        return Outcome(
            self.order.node, self.order.verb, text=f"{len(rows)} events", warnings=warnings, rows=tuple(rows),
            partial=cut,
        )  # fmt: skip

    def _entries(self, page: str) -> tuple[list[dict[str, Any]], bool]:
        """The entries of one log, page by page, and whether there are more than are taken."""
        found: list[dict[str, Any]] = []
        seen = set[str]()
        while page and page not in seen and len(found) <= _LOG_ENTRIES and len(seen) < _LOG_PAGES:
            seen.add(page)
            one = self._get(page)
            found += one.get("Members", ())
            page = one.get("Members@odata.nextLink", "")
        return found[:_LOG_ENTRIES], len(found) > _LOG_ENTRIES or bool(page)

    def _clear_events(self) -> Outcome:
        cleared = 0
        for log in self._logs():
            target = log.get("Actions", {}).get("#LogService.ClearLog", {}).get("target")
            if target and "Entries" in log:  # what cannot be shown is not cleared
                self._try(partial(self.system._conn.post, target, data={}))
                cleared += 1
        if not cleared:
            raise BmcFault(Fault.UNSUPPORTED, "it has no log that can be cleared")
        return Outcome(self.order.node, self.order.verb, text=f"{cleared} logs cleared")

    def _check(self) -> Outcome:
        facts, warnings = {"Redfish": str(self.root.redfish_version or "")}, []
        for key, name in (("manufacturer", "Manufacturer"), ("model", "Model"), ("serial", "SerialNumber"),
                          ("BIOS", "BiosVersion"), ("uuid", "UUID")):  # fmt: skip
            if value := self.system.json.get(name):
                facts[key] = str(value)
        managers = self._linked("ManagedBy")
        if managers:
            facts["firmware"] = str(self._get(managers[0]).get("FirmwareVersion", ""))
        facts["resets"] = ", ".join(sorted(one.value for one in self._try(self.system.get_allowed_reset_system_values)))
        bmc = self.order.bmc
        if bmc.tls:
            facts["certificate"] = "sha256:" + fingerprint_of(bmc.address or "", bmc.port or 443, bmc.timeout)
            if not bmc.verify:
                warnings.append("its certificate is not verified: bmc.fingerprint would pin it")
        else:
            warnings.append("tls: false sends the password in clear text")
        text = f"{facts.get('manufacturer', '')} {facts.get('model', '')}".strip()
        return Outcome(self.order.node, self.order.verb, "redfish", self.read_state(), text,
                       warnings=tuple(warnings), facts={k: v for k, v in facts.items() if v})  # fmt: skip


def fingerprint_of(address: str, port: int, timeout: float) -> str:
    """SHA-256 of the certificate that is shown there, as hex digits; empty when none is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only looks; nothing is sent
    try:
        with (
            socket.create_connection((address, port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=address) as link,
        ):
            return hashlib.sha256(link.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def _open(sushy: Any, folder: Path, bmc: Bmc, auth: Any) -> Any:
    address = f"[{bmc.address}]" if ":" in (bmc.address or "") else bmc.address
    base = f"{'https' if bmc.tls else 'http'}://{address}" + (f":{bmc.port}" if bmc.port else "")
    verify: bool | str = bmc.verify and not bmc.fingerprint
    if bmc.ca:
        if not (folder / bmc.ca).is_file():
            raise BmcFault(Fault.LOCAL, f"bmc.ca: there is no file {folder / bmc.ca}")
        verify = str(folder / bmc.ca)
    connecting = min(bmc.timeout, 5.0)
    # sushy's own waits are ten retries of up to 60 s each.
    connector = sushy.connector.Connector(
        base, verify=verify, server_side_retries=1, server_side_retries_delay=1,
        default_request_timeout=bmc.timeout, connect_timeout=connecting,
    )  # fmt: skip
    # REQUESTS_CA_BUNDLE and proxies of the environment would overrule what rack.yml says.
    connector._session.trust_env = False
    for scheme in ("http://", "https://"):
        bounded = Bounded(connecting + bmc.timeout, bmc.fingerprint)
        connector._session.mount(scheme, bounded)
    return sushy.Sushy(base, auth=auth, connector=connector)


def _connection_fault(wrong: Exception, bmc: Bmc) -> BmcFault:
    text = str(wrong)
    if "Fingerprints did not match" in text:
        return BmcFault(Fault.TLS, "its certificate is not the one that bmc.fingerprint pins")
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text:
        shown = fingerprint_of(bmc.address or "", bmc.port or 443, 3.0)
        return BmcFault(Fault.TLS, "its certificate is not trusted" + (f"; it is sha256:{shown}" if shown else ""))
    if "SSLError" in text or "SSL:" in text:
        return BmcFault(Fault.TLS, "no TLS connection: is this the HTTPS port?")
    if TOO_LARGE in text:
        return BmcFault(Fault.REFUSED, TOO_LARGE)
    if "Read timed out" in text:
        return BmcFault(Fault.TIMEOUT, f"it took the connection, then gave no whole answer within {bmc.timeout:g} s")
    for sign, words in (("refused", "the connection is refused"), ("timed out", "no answer"),
                        ("resolve", "the name cannot be resolved")):  # fmt: skip
        if sign in text:
            return BmcFault(Fault.UNREACHABLE, words)
    return BmcFault(Fault.UNREACHABLE, _short(wrong))


def _row(one: Mapping[str, Any], reading: str, unit: str) -> dict[str, str]:
    value = one.get(reading)
    status = one.get("Status", {}).get("Health") or one.get("Status", {}).get("State") or ""
    return {"name": str(one.get("Name", "")), "value": "na" if value is None else str(value), "unit": unit,
            "status": str(status)}  # fmt: skip


def _short(wrong: Exception) -> str:
    lines = str(wrong).strip().splitlines()
    return (lines[0] if lines else type(wrong).__name__)[:200]
