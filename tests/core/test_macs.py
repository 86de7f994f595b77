import pytest

from rackctl.core.load import parse_rack
from rackctl.core.macs import IA32_MODELS, efi_width, netboot_refusal, parse_model, stick_refusal
from rackctl.errors import ConfigError

HEAD = "server: {address: 10.98.0.1}\nnodes:\n  m1:\n    mac: '00:16:cb:00:00:01'\n"


def test_the_table_has_the_sixteen_models_with_32_bit_efi() -> None:
    assert len(set(IA32_MODELS)) == 16
    for model in IA32_MODELS:
        assert (parse_model(model), efi_width(model)) == (model, "ia32")
    for model in ("Macmini6,2", "iMac12,1", "MacBookPro3,1", "iMac7,1", "Macmini3,1", "MacPro3,1", "Foo9,9"):
        assert efi_width(model) == "x86_64"


@pytest.mark.parametrize(
    "model", ["iMacPro1,1", "iMac20,2", "Macmini8,1", "MacPro7,1", "MacBookAir9,1", "MacBookPro15,4", "MacBookPro16,1"]
)
def test_a_mac_with_t2_is_refused_but_not_its_stick(model: str) -> None:
    assert "T2 chip" in netboot_refusal(model)
    assert not stick_refusal(model)
    with pytest.raises(ConfigError, match=r"T2 chip.*mac_boot: stick") as caught:
        parse_rack(HEAD + f"    mac_model: '{model}'\n")
    assert caught.value.where == "rack.yml:3:3"
    assert parse_rack(HEAD + f"    mac_model: '{model}'\n    mac_boot: stick\n").nodes["m1"].is_mac


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("Macmini9,1", "Apple silicon"),
        ("MacBookPro18,3", "Apple silicon"),
        ("Mac14,3", "Apple silicon"),
        ("MacBookAir10,1", "Apple silicon"),
        ("iMac21,1", "Apple silicon"),
        ("PowerMac10,1", "PowerPC"),
    ],
)
def test_apple_silicon_and_powerpc_are_refused_by_any_way(model: str, reason: str) -> None:
    for boot in ("network", "stick"):
        with pytest.raises(ConfigError, match=reason):
            parse_rack(HEAD + f"    mac_model: '{model}'\n    mac_boot: {boot}\n")


@pytest.mark.parametrize(
    "model", ["Macmini7,1", "iMac19,1", "MacBookPro14,3", "MacBookAir7,2", "MacPro6,1", "Xserve3,1"]
)
def test_the_last_macs_before_t2_netboot(model: str) -> None:
    assert parse_model(model) == model
    assert not netboot_refusal(model)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("    mac_model: macmini6,2\n", "did you mean Macmini6,2?"),
        ("    mac_model: Dell R610\n", "not a Mac's model identifier, like Macmini6,2; on it:"),
        ("    mac_model: Macmini\n", "like Macmini6,2; on it:"),
        ("    mac_model: Macmini٦,2\n", "not a Mac's model identifier"),
        (f"    mac_model: {'M' * 5000}\n", f"'{'M' * 30}'... is not"),
        ("    mac_efi: i386\n", "'ia32' or 'x86_64'"),
        ("    macos: 10.13\n", "in quotes: '10.13'"),
        ("    macos: '9.2'\n", "not a version of macOS"),
        ("    macos: '10.١٣'\n", "not a version of macOS"),
        ("    mac_efi: ia32\n    macos: '10.6'\n", "mac_efi, macos: only for a Mac"),
        ("    mac_boot: stick\n", "apple: true"),
        ("    ssh: -oProxyCommand=x\n", "not a login"),
        ("mac: {label: ''}\n", "no label"),
        ("mac: {label: '  '}\n", "no label"),
        ('mac: {label: "\\ud800"}\n', "no label"),
        ("mac: {index: 0}\n", "greater than or equal to 1"),
        ("mac: {index: 65535}\n", "no room"),
        ("mac: {bspd: true}\n", "did you mean 'bsdp'?"),
    ],
)
def test_a_fault_is_named(keys: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack(HEAD + keys)
    assert says in caught.value.message


def test_a_node_may_say_what_the_table_does_not_know() -> None:
    node = parse_rack(HEAD + "    apple: true\n    mac_efi: ia32\n").nodes["m1"]
    assert (node.is_mac, node.efi) == (True, "ia32")
    assert parse_rack(HEAD + "    mac_model: iMac5,1\n    mac_efi: x86_64\n").nodes["m1"].efi == "x86_64"
    assert not parse_rack(HEAD).nodes["m1"].is_mac
