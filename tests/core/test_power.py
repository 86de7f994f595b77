import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.core.ipmi import Call, hold_dialogue
from rackctl.core.ipmi_text import Reply, read_boot_flags, read_fault, read_pairs, read_power, read_table
from rackctl.core.load import parse_rack
from rackctl.core.model_bmc import Bmc
from rackctl.core.power import REMEDY, Fault, Order, Outcome, Verb, select_nodes, stagger
from rackctl.core.wol import magic_packet
from rackctl.errors import ConfigError

SERVER = "server: {address: 10.98.0.1}\n"
GENERIC = "Error: Unable to establish IPMI v2 / RMCP+ session"


def order(verb: Verb, **more: object) -> Order:
    keys = {"driver": "ipmi", "address": "10.0.0.1", "cipher": 3, "wait": 10}
    keys |= {key: more.pop(key) for key in list(more) if key in Bmc.model_fields}
    return Order("n", "52:54:00:12:34:56", Bmc(**keys), verb, "pw", **more)  # type: ignore[arg-type]


def status(state: str) -> Reply:
    return Reply(0, f"Chassis Power is {state}\n", "", 0.1)


def play(asked: Order, *replies: Reply) -> tuple[Outcome, list[Call]]:
    """Answer the calls one after the other; the last reply answers all that follow."""
    talk, calls = hold_dialogue(asked), []
    call = next(talk)
    for number in range(100):
        calls.append(call)
        try:
            call = talk.send(replies[min(number, len(replies) - 1)])
        except StopIteration as end:
            return end.value, calls
    raise AssertionError("the dialogue has no end")


def test_a_change_asks_sends_and_waits() -> None:
    done = Reply(0, "Chassis Power Control: Up/On\n", "")
    outcome, calls = play(order(Verb.ON), status("off"), done, status("off"), status("on"))
    assert (outcome.ok, outcome.state) == (True, "on")
    assert [call.words[-1] for call in calls] == ["status", "on", "status", "status"]
    assert all(call.cipher == 3 for call in calls)


def test_waiting_ends() -> None:
    done = Reply(0, "Chassis Power Control: Soft\n", "")
    outcome, calls = play(order(Verb.SOFT), status("on"), done, status("on"))
    assert outcome.fault is Fault.IGNORED
    assert sum(call.after for call in calls) <= 10
    assert [call.words[-1] for call in calls].count("soft") == 1


def test_a_command_that_was_not_answered_is_judged_by_the_state() -> None:
    late = Reply(137, "", "Discovered IPMB address 0x0", 8, late=True)
    outcome, calls = play(order(Verb.ON), status("off"), late, status("on"))
    assert (outcome.ok, outcome.state) == (True, "on")
    assert "no answer" in outcome.warnings[0]
    outcome, calls = play(order(Verb.CYCLE), status("on"), late, status("on"))
    assert outcome.fault is Fault.TIMEOUT
    assert [call.words[-1] for call in calls].count("cycle") == 1


def test_success_without_its_line_is_a_failure() -> None:
    outcome, _ = play(
        order(Verb.BOOTDEV, device="pxe"), Reply(0, "", "Set Chassis Boot Parameter 5 failed: Unspecified")
    )
    assert outcome.fault is Fault.UNSUPPORTED
    outcome, _ = play(order(Verb.ON), status("off"), Reply(0, "", "strange"))
    assert outcome.fault is Fault.REFUSED


def test_boot_options_are_one_word() -> None:
    answer = Reply(0, "Boot Device Selector : Force PXE\nBoot Flag Valid\nall future boots\nBIOS EFI boot\n", "")
    asked = order(Verb.BOOTDEV, device="pxe", persistent=True, efi=True)
    outcome, calls = play(asked, Reply(0, "Set Boot Device to pxe\n", ""), answer)
    assert calls[0].words == ("chassis", "bootdev", "pxe", "options=persistent,efiboot")
    assert (outcome.ok, outcome.warnings) == (True, ())


def test_another_boot_device_than_asked_for_is_a_failure() -> None:
    answer = Reply(0, "Boot Device Selector : No override\n", "")
    outcome, _ = play(order(Verb.BOOTDEV, device="pxe"), Reply(0, "Set Boot Device to pxe\n", ""), answer)
    assert outcome.fault is Fault.IGNORED


def test_a_busy_bmc_is_asked_again_and_not_for_ever() -> None:
    busy = Reply(1, "", "insufficient resources for session\n" + GENERIC)
    outcome, calls = play(order(Verb.STATUS), busy, status("on"))
    assert (outcome.ok, calls[1].after) == (True, 2.0)
    outcome, calls = play(order(Verb.STATUS), busy)
    assert (outcome.fault, len(calls)) == (Fault.BUSY, 3)


def test_a_login_whose_packets_were_lost_is_no_lack_of_privilege() -> None:
    lost = "> Error: no response from RAKP 1 message\nSet Session Privilege Level to ADMINISTRATOR failed: Command"
    outcome, calls = play(order(Verb.ON), Reply(1, "", f"{lost}\n{GENERIC}"), status("on"))
    assert (outcome.ok, len(calls)) == (True, 2)
    refused = Reply(1, "", f"Set Session Privilege Level to ADMINISTRATOR failed: Requested level exceeds\n{GENERIC}")
    assert play(order(Verb.ON), refused)[0].fault is Fault.PRIVILEGE


@pytest.mark.parametrize(("hint", "tried"), [(None, [17, 3]), (3, [3, 17]), (17, [17, 3])])
def test_the_other_cipher_suite_is_tried_once(hint: int | None, tried: list[int]) -> None:
    refusal = Reply(1, "", "Error in open session response message : invalid authentication algorithm\n" + GENERIC)
    outcome, calls = play(order(Verb.STATUS, cipher=None, cipher_hint=hint), refusal)
    assert [call.cipher for call in calls] == tried
    assert (outcome.fault, outcome.cipher) == (Fault.CIPHER, None)


def test_the_one_line_for_everything_is_looked_into() -> None:
    quiet, loud = Reply(1, "", GENERIC), Reply(1, "", "> RAKP 2 HMAC is invalid\n" + GENERIC)
    outcome, calls = play(order(Verb.SEL), quiet, loud)
    assert (outcome.fault, calls[1].verbose) == (Fault.AUTH, True)


@given(st.text(max_size=300), st.text(max_size=300), st.integers(0, 255), st.booleans(), st.sampled_from(list(Verb)))
def test_whatever_a_bmc_says_the_dialogue_ends_with_an_outcome(
    out: str, err: str, rc: int, late: bool, verb: Verb
) -> None:
    asked = order(verb, device="pxe" if verb is Verb.BOOTDEV else "")
    outcome, _ = play(asked, Reply(rc, out, err, 1.0, late))
    assert isinstance(outcome, Outcome)
    (
        read_boot_flags(out),
        read_pairs(out),
        read_power(out),
        read_table(out, ("a", "b")),
        read_fault(Reply(rc, out, err), 1),
    )


def test_what_v_complains_of_in_a_good_session_is_no_reason() -> None:
    noise = "Running Get VSO Capabilities my_addr 0x20\nInvalid completion code received: Invalid command\n"
    failure = Reply(1, "", noise + "Set Chassis Power Control to Soft failed: Unspecified error")
    assert read_fault(failure, 1) == (Fault.REFUSED, "Set Chassis Power Control to Soft failed: Unspecified error")


def test_a_password_is_in_no_repr() -> None:
    assert "pw" not in repr(order(Verb.STATUS))


def test_every_fault_has_a_remedy() -> None:
    assert set(REMEDY) == set(Fault)


@pytest.mark.parametrize(
    ("bmc", "says"),
    [
        ("{password: hunter2}", "a secret is named, never written here"),
        ("{driver: wol, user: x}", "the driver wol does not read user"),
        ("{driver: ipmi, cipher: 12}", "3 or 17"),
        ("{adress: 10.0.0.2}", "did you mean 'address'?"),
        ("{address: -oProxy}", "neither an address nor a host name"),
        ("{fingerprint: abc}", "SHA-256"),
        ("{driver: command}", "at least one of on, off"),
        ("{verify: false, ca: x}", "contradicts"),
    ],
)
def test_a_fault_of_a_bmc_is_named_and_no_secret_repeated(bmc: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack(SERVER + f"nodes: {{n: {{mac: '52:54:00:12:34:56', bmc: {bmc}}}}}\n")
    assert says in caught.value.message
    assert "hunter2" not in str(caught.value)


def test_a_nodes_bmc_lies_over_the_racks() -> None:
    rack = parse_rack(
        SERVER + "bmc: {driver: ipmi, user: admin, cipher: 17, timeout: 5}\n"
        "nodes:\n  a: {mac: '52:54:00:12:34:56', bmc: {address: 10.0.0.1}}\n"
        "  b: {mac: '52:54:00:12:34:57', bmc: {driver: wol}}\n  c: {mac: '52:54:00:12:34:58'}\n"
    )
    a, b = rack.bmc_of("a"), rack.bmc_of("b")
    assert a and (a.driver, a.user, a.cipher, a.timeout) == ("ipmi", "admin", 17, 5)
    assert b and (b.driver, b.user, b.timeout) == ("wol", None, 5)
    assert rack.bmc_of("c") is None


def test_which_machines_are_meant() -> None:
    rack = parse_rack(
        SERVER
        + "nodes:\n  a: {mac: '52:54:00:12:34:56', groups: [x]}\n  b: {mac: '52:54:00:12:34:57', groups: [x, y]}\n"
    )
    assert select_nodes(rack, ["b", "a"], "", False) == ("a", "b")
    assert select_nodes(rack, [], "y", False) == ("b",)
    assert select_nodes(rack, [], "", True) == ("a", "b")
    for names, group, everything in (([], "", False), (["a"], "x", False), (["c"], "", False), ([], "z", False)):
        with pytest.raises(ConfigError):
            select_nodes(rack, names, group, everything)


def test_a_stagger_is_a_delay_each() -> None:
    assert [one.delay for one in stagger([order(Verb.ON)] * 3, 1.5)] == [0, 1.5, 3]


def test_a_magic_packet() -> None:
    packet = magic_packet("52:54:00:12:34:56")
    assert len(packet) == 102
    assert packet == b"\xff" * 6 + b"\x52\x54\x00\x12\x34\x56" * 16
    assert magic_packet("52:54:00:12:34:56", "00-11-22-33-44-55")[102:] == b"\x00\x11\x22\x33\x44\x55"
    with pytest.raises(ConfigError):
        magic_packet("52:54:00:12:34:56", "secret")


@given(st.text(max_size=60))
def test_any_bmc_section_gives_a_rack_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_rack(SERVER + f"bmc: {{address: {text!r}, password: {text!r}}}\n")
