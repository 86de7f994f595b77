"""What is said of a boot that stopped, for each stage, and how a boot compares with the usual."""

import pytest

from rackctl.core.diagnosis import Context, diagnose, explain
from rackctl.core.events import Event, Stage
from rackctl.core.inventory import parse_inventory
from rackctl.core.timeline import fold_events
from rackctl.core.usual import compare, find_usual

MAC, IP = "52:54:00:12:34:56", "10.98.0.50"


def boot(*events, now=5000.0, start=1000.0):
    """(stage, detail, ok) each a second after the other, then silence."""
    made = [Event(start + n, stage, None if stage is Stage.LOADER else MAC, IP, ok, detail, 2**20)
            for n, (stage, detail, ok) in enumerate(events)]  # fmt: skip
    return fold_events(made, now)[-1]


LOADER = (Stage.LOADER, {"file": "/srv/current/tftp/snponly.efi"}, True)
SCRIPT = (Stage.SCRIPT, {"uri": "/boot/x", "status": "200", "platform": "efi"}, True)
KERNEL, INITRD, CONFIG = ((stage, {}, True) for stage in (Stage.KERNEL, Stage.INITRD, Stage.CONFIG))
ARM = (Stage.SCRIPT, {"uri": "/boot/x", "status": "200", "buildarch": "arm64"}, True)
NIC = (Stage.SCRIPT, {"uri": "/boot/x", "status": "200", "nic": "0114e41639"}, True)


NO_KERNEL = (Stage.KERNEL, {"problem": "status", "status": "404", "uri": "/os/x"}, False)
CUT = (Stage.INITRD, {"problem": "aborted", "percent": "40", "uri": "/os/i"}, False)


@pytest.mark.parametrize(("events", "code", "says"), [
    ([(Stage.LOADER, {"problem": "not-found", "file": "x.efi"}, False)], "loader-not-found", "option 67"),
    ([LOADER], "loader-but-no-script", "loader: ipxe in rack.yml instead of snponly.efi"),
    ([LOADER, LOADER, LOADER], "loader-loop", "carries no script"),
    ([LOADER, SCRIPT], "script-but-no-kernel", "rackctl up"),
    ([LOADER, ARM], "kernel-wrong-arch", "arm64"),
    ([SCRIPT, NO_KERNEL], "kernel-not-found", "store"),
    ([SCRIPT, KERNEL], "kernel-refused", "Exec format error"),
    ([SCRIPT, KERNEL, CUT], "initrd-cut", "40 %"),
    ([SCRIPT, KERNEL, INITRD], "no-network-in-the-system", "kernel panicked"),
    ([NIC, KERNEL, INITRD], "no-network-in-the-system", "firmware-bnx2"),
    ([SCRIPT, KERNEL, INITRD, CONFIG], "config-but-no-checkin", "cloud-init-output.log"),
])  # fmt: skip
def test_each_way_to_stop_has_its_diagnosis(events, code, says):
    timeline = boot(*events)
    assert [one.code for one in diagnose(timeline)] == [code]
    assert says in explain(timeline)


def test_the_inventory_names_the_card_and_the_linter_the_fault():
    inventory = parse_inventory(b'{"nics":[{"mac":"52:54:00:12:34:56","pci":"10ec:8139"}]}')
    said = explain(boot(SCRIPT, KERNEL, INITRD), Context(inventory=inventory))
    assert "the initrd may lack the driver of the network card 10ec:8139 (8139too)" in said
    inventory = parse_inventory(b'{"undriven":[{"pci":"8086:1209"}]}')
    said = explain(boot(SCRIPT, KERNEL, INITRD), Context(inventory=inventory))
    assert "the discovery OS has no driver of the network card 8086:1209 (e100, or its firmware" in said
    assert "initrd_overlays: [{package: firmware-misc-nonfree}]" in said
    faulty = diagnose(boot(SCRIPT, KERNEL, INITRD, CONFIG), Context(findings=["CC103 line 4: not a list"]))
    assert faulty[0].code == "config-faulty" and "CC103" in faulty[0].causes


@pytest.mark.parametrize(("clock", "codes"), [("1003", []), ("946684800", ["clock-wrong"]), ("x", []), ("9" * 30, [])])
def test_a_clock_that_is_off_is_said_even_of_a_good_boot(clock, codes):
    timeline = boot(SCRIPT, KERNEL, INITRD, (Stage.CHECKIN, {"clock": clock}, True))
    assert [one.code for one in diagnose(timeline)] == codes


def test_a_slow_boot_is_compared_with_the_usual():
    def one(start, initrd):
        return fold_events([Event(start, Stage.SCRIPT, MAC, IP, True), Event(start + 1, Stage.KERNEL, MAC, IP, True),
                            Event(start + 1 + initrd, Stage.INITRD, MAC, IP, True),
                            Event(start + 5 + initrd, Stage.CHECKIN, MAC, IP, True)], 1e6)[0]  # fmt: skip

    earlier = [one(start, 4) for start in (1000, 2000, 3000)]
    usual = find_usual(earlier)
    assert usual is not None and usual.seconds["initrd"] == 4
    said = compare(one(4000, 20), usual)
    assert said[0] == "initrd took 20.0 s, usually 4.0 s"
    assert "usually 9.0 s (3 boots)" in said[-1]
    assert len(compare(one(4000, 5), usual)) == 1
    assert find_usual(earlier[:1]) is None


def test_an_initrd_that_ipxe_refuses_by_its_length_is_told_from_one_that_is_cut():
    refused = (Stage.INITRD, {"problem": "aborted", "percent": "0", "uri": "/os/i"}, False)
    (at_once,), (cut,) = diagnose(boot(SCRIPT, KERNEL, refused)), diagnose(boot(SCRIPT, KERNEL, CUT))
    assert at_once.code == cut.code == "initrd-cut"
    assert "memory takes" in at_once.causes and "cable" not in at_once.causes and "cable" in cut.causes
    slow = Event(1005.0, Stage.INITRD, MAC, IP, False, refused[1], 2**21, 1.5)
    events = [Event(1000.0, Stage.SCRIPT, MAC, IP, True), Event(1001.0, Stage.KERNEL, MAC, IP, True), slow]
    assert "cable" in diagnose(fold_events(events, 5000.0)[0])[0].causes  # the first 2 MiB of a large one took a while
