import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.bless import MacFacts, facts_of, parse_facts, plan_bless
from rackctl.core.load import parse_rack
from rackctl.core.macmodel import MacSettings

RACK = parse_rack(
    "server: {address: 10.0.0.5}\nmac: {bsdp: true}\nnodes:\n"
    "  mini: {mac: '00:16:cb:00:00:01', mac_model: 'Macmini6,2', macos: '10.13'}\n"
    "  old: {mac: '00:16:cb:00:00:02', mac_model: 'Macmini1,1', macos: '10.6.8'}\n"
)
MINI, OLD = RACK.nodes["mini"], RACK.nodes["old"]
TOLD = """\
macos=10.13.6
model=Macmini6,2
efi=EFI64
sip=System Integrity Protection status: enabled.
netboot=Allowed NetBoot sources:
netboot=10.0.0.5
"""


def test_what_a_mac_tells() -> None:
    assert parse_facts(TOLD) == MacFacts((10, 13, 6), "Macmini6,2", "EFI64", True, ("10.0.0.5",))
    assert parse_facts("macos=\nmodel=\nsip=") == MacFacts()
    assert parse_facts(f"macos={'1' * 5000}\n") == MacFacts()


@given(st.text(max_size=300))
def test_any_answer_is_read(text: str) -> None:
    assert isinstance(parse_facts(text).macos, tuple)


@pytest.mark.parametrize(
    ("macos", "recovery"),
    [("10.4.5", False), ("10.10.5", False), ("10.11", True), ("10.13.6", True), ("10.14", True), ("", True)],
)
def test_sip_needs_its_step_from_el_capitan_on(macos: str, recovery: bool) -> None:
    facts = MacFacts(tuple(map(int, macos.split("."))) if macos else ())
    assert plan_bless(RACK, MINI, facts, "bsdp").recovery == (("csrutil netboot add 10.0.0.5",) if recovery else ())


def test_the_command_and_its_undo() -> None:
    plan = plan_bless(RACK, MINI, facts_of(MINI), "bsdp", nextonly=True)
    assert plan.commands == (("bless", "--netboot", "--server", "bsdp://10.0.0.5", "--nextonly"),)
    assert plan.undo == (("bless", "--mount", "/", "--setBoot"),)
    assert plan.undo_recovery == ("csrutil netboot remove 10.0.0.5",)
    assert not plan.blocked, "whether SIP is on is not known from rack.yml"


def test_without_a_responder_whichever_server_answers_is_asked() -> None:
    foreign = RACK.model_copy(update={"mac": MacSettings()})
    plan = plan_bless(foreign, MINI, facts_of(MINI), "bsdp")
    assert plan.commands == (("bless", "--netboot", "--server", "bsdp://255.255.255.255"),)
    assert plan.recovery == ("csrutil netboot add DHCP-SERVER",)
    assert "DHCP-SERVER is its address" in plan.notes[0]
    assert not plan_bless(foreign, MINI, parse_facts(TOLD), "bsdp").blocked, "it has allowed some server"
    assert plan_bless(foreign, MINI, parse_facts(TOLD.replace("10.0.0.5", "")), "bsdp").blocked


def test_the_file_is_that_of_the_firmware() -> None:
    assert plan_bless(RACK, MINI, facts_of(MINI), "tftp").commands[0][3] == "tftp://10.0.0.5/ipxe.efi"
    assert plan_bless(RACK, OLD, facts_of(OLD), "tftp").commands[0][3] == "tftp://10.0.0.5/ipxe-ia32.efi"


def test_sip_blocks_until_the_server_is_allowed() -> None:
    assert not plan_bless(RACK, MINI, parse_facts(TOLD), "bsdp").blocked
    assert plan_bless(RACK, MINI, parse_facts(TOLD.replace("10.0.0.5", "10.0.0.6")), "bsdp").blocked
    off = parse_facts(TOLD.replace("10.0.0.5", "10.0.0.6").replace("enabled", "disabled"))
    assert not plan_bless(RACK, MINI, off, "bsdp").recovery


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (MacFacts((10, 4, 1)), "came with 10.4.5"),
        (MacFacts((10, 14), "Macmini8,1"), "T2 chip"),
        (MacFacts((12,), "Macmini9,1"), "Apple silicon"),
    ],
)
def test_what_cannot_be_blessed(facts: MacFacts, says: str) -> None:
    assert says in plan_bless(RACK, MINI, facts, "bsdp").refusal


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (MacFacts((10, 6), efi="EFI32"), "write mac_efi: ia32"),
        (MacFacts((10, 6), "Macmini2,1"), "says that it is a Macmini2,1"),
        (MacFacts((10, 15, 7)), "nobody has shown"),
        (MacFacts(), "use --run"),
    ],
)
def test_what_it_remarks(facts: MacFacts, says: str) -> None:
    assert any(says in note for note in plan_bless(RACK, MINI, facts, "tftp").notes)
