"""The driver redfish against sushy-tools' emulator; a fake server for the answers it never gives."""

import hashlib
import ssl
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from redfish_emulator import UUID, Emulator, run, running_emulator

from rackctl.adapters.bmcprobe import find_driver
from rackctl.core.model_bmc import Bmc
from rackctl.core.power import Fault, Verb


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running_emulator(tmp_path_factory.mktemp("redfish")) as found:
        yield found


def test_every_change_of_power(emulator: Emulator) -> None:
    run(emulator.order(Verb.OFF))
    assert run(emulator.order(Verb.STATUS)).state == "off"
    for verb, state in ((Verb.ON, "on"), (Verb.RESET, "on"), (Verb.CYCLE, "on"), (Verb.SOFT, "off")):
        outcome = run(emulator.order(verb))
        assert (verb, outcome.fault, outcome.state) == (verb, None, state)
        assert run(emulator.order(Verb.STATUS)).state == state
    assert run(emulator.order(Verb.OFF)).text == "already off"


def test_a_bmc_without_power_cycle_is_switched_off_and_on(emulator: Emulator) -> None:
    run(emulator.order(Verb.ON))
    outcome = run(emulator.order(Verb.CYCLE))
    assert (outcome.fault, outcome.state) == (None, "on")
    assert "no PowerCycle" in outcome.warnings[0]


@pytest.mark.parametrize("device", ["pxe", "disk"])
def test_a_boot_device_is_read_back(emulator: Emulator, device: str) -> None:
    outcome = run(emulator.order(Verb.BOOTDEV, device=device, persistent=True, efi=True))
    assert (outcome.fault, outcome.text, outcome.warnings) == (None, device, ())


def test_a_dropped_once_is_told(emulator: Emulator) -> None:
    outcome = run(emulator.order(Verb.BOOTDEV, device="pxe"))
    assert outcome.ok
    assert outcome.warnings == ("the BMC says that it is Continuous",)


def test_check(emulator: Emulator) -> None:
    outcome = run(emulator.order(Verb.CHECK))
    assert outcome.fault is None
    der = ssl.PEM_cert_to_DER_cert((emulator.folder / "cert.pem").read_text())
    assert outcome.facts["certificate"] == "sha256:" + hashlib.sha256(der).hexdigest()
    assert outcome.facts["uuid"] == UUID
    assert "ForceOff" in outcome.facts["resets"]


def test_a_boot_device_that_it_does_not_have(emulator: Emulator) -> None:
    outcome = run(emulator.order(Verb.BOOTDEV, device="bios"))
    assert outcome.fault is Fault.UNSUPPORTED
    assert outcome.text == "it cannot be told to boot BiosSetup; it takes Cd, Hdd, Pxe, UefiHttp"


def test_sensors_and_no_event_log(emulator: Emulator) -> None:
    outcome = run(emulator.order(Verb.SENSORS))
    assert outcome.rows[0] == {"name": "CPU Temp", "value": "41", "unit": "degrees C", "status": "OK"}
    assert outcome.rows[-1] == {"name": "BaseBoard System Fan Backup", "value": "2050", "unit": "RPM", "status": "OK"}
    for verb in (Verb.SEL, Verb.SEL_CLEAR):
        outcome = run(emulator.order(verb))
        assert (outcome.fault, outcome.text) == (Fault.UNSUPPORTED, "it keeps no event log that Redfish shows")


def test_an_error_of_its_own(emulator: Emulator) -> None:
    """500, and it works again when its trouble is over."""
    files = [emulator.folder / f"fakedriver.sqlite{end}" for end in ("", "-wal", "-shm")]
    whole = {file: file.read_bytes() for file in files if file.exists()}
    files[0].write_bytes(b"no database" * 99)
    try:
        outcome = run(emulator.order(Verb.ON))
    finally:
        for file, content in whole.items():
            file.write_bytes(content)
    assert (outcome.fault, "the BMC answers 500" in outcome.text) == (Fault.REFUSED, True)
    assert run(emulator.order(Verb.STATUS)).ok


def test_wrong_logins_and_places(emulator: Emulator) -> None:
    assert run(emulator.order(Verb.STATUS, secret="wrong")).fault is Fault.AUTH
    assert run(emulator.order(Verb.STATUS, user="nobody")).fault is Fault.AUTH
    missing = run(emulator.order(Verb.STATUS, system="/redfish/v1/Systems/none"))
    assert (missing.fault, "404" in missing.text) == (Fault.UNSUPPORTED, True)


def test_certificates(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    der = ssl.PEM_cert_to_DER_cert((emulator.folder / "cert.pem").read_text())
    pin = hashlib.sha256(der).hexdigest()
    untrusted = run(emulator.order(Verb.STATUS, ca=None))
    assert (untrusted.fault, pin in untrusted.text) == (Fault.TLS, True)
    assert run(emulator.order(Verb.STATUS, ca=None, fingerprint=pin)).ok
    assert run(emulator.order(Verb.STATUS, ca=None, fingerprint="0" * 64)).fault is Fault.TLS
    assert run(emulator.order(Verb.STATUS, ca=None, verify=False)).ok
    assert run(emulator.order(Verb.STATUS, ca="/no/such.pem")).fault is Fault.LOCAL
    # The environment's bundle must not overrule what rack.yml pins.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(emulator.folder / "cert.pem"))
    assert run(emulator.order(Verb.STATUS, ca=None)).fault is Fault.TLS


@pytest.mark.serial
def test_nobody_there_and_hung(emulator: Emulator) -> None:
    begin = time.monotonic()
    assert run(emulator.order(Verb.STATUS, port=1)).fault is Fault.UNREACHABLE
    assert time.monotonic() - begin < 5
    emulator.hang()
    try:
        begin = time.monotonic()
        outcome = run(emulator.order(Verb.STATUS, timeout=1))
        assert outcome.fault in (Fault.TIMEOUT, Fault.UNREACHABLE)
        assert time.monotonic() - begin < 6
    finally:
        emulator.go_on()
    assert run(emulator.order(Verb.STATUS)).ok


@pytest.mark.serial
def test_a_bmc_that_restarts_while_the_machine_goes_down(emulator: Emulator) -> None:
    run(emulator.order(Verb.ON))

    def restart() -> None:
        time.sleep(0.6)
        emulator.hang()
        time.sleep(4)
        emulator.go_on()

    thread = threading.Thread(target=restart)
    thread.start()
    outcome = run(emulator.order(Verb.SOFT, timeout=1, wait=20))
    thread.join()
    assert (outcome.fault, outcome.state) == (None, "off")
    assert outcome.seconds > 4


@pytest.mark.serial
def test_a_slow_bmc_is_waited_for(emulator: Emulator) -> None:
    thread = threading.Timer(3, emulator.go_on)
    emulator.hang()
    thread.start()
    outcome = run(emulator.order(Verb.STATUS, timeout=8))
    thread.join()
    assert outcome.ok
    assert outcome.seconds > 2


def test_auto_finds_redfish(emulator: Emulator) -> None:
    assert find_driver(Bmc(address="127.0.0.1", port=emulator.port)) == "redfish"
    assert find_driver(Bmc(address="127.0.0.1", port=1)) == ""


def test_sushy_is_imported_only_when_used() -> None:
    import subprocess

    code = "import rackctl.power, rackctl.cli.power, sys; sys.exit('sushy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
