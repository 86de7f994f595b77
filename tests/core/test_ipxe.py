"""The `ipxe:` section, the script that is embedded, and what each binary must be."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackctl.adapters.ipxe import plan_files
from rackctl.core.dhcp.arch import arch_by_key, loader_for, swap_loaders
from rackctl.core.ipxe.binaries import BINARIES, choose_targets, compiled, find_fault
from rackctl.core.ipxe.features import ALWAYS, COMMANDS, PROTOCOLS, built_commands
from rackctl.core.ipxe.headers import render_headers
from rackctl.core.ipxe.recipe import Recipe
from rackctl.core.ipxe.script import MOST_BYTES, check_script
from rackctl.core.ipxe.settings import IpxeSettings
from rackctl.core.load import parse_rack
from rackctl.core.model import Rack
from rackctl.core.pe import MACHINE_ARM64, MACHINE_IA32, MACHINE_X86_64, make_fat
from rackctl.core.render import render_embed
from rackctl.core.targets import DEFAULT_TARGETS, needed_targets
from rackctl.errors import ConfigError

SERVER = "server: {address: 10.0.0.1}\n"
BUILT = built_commands({}, "bios")


def rack(ipxe: str) -> Rack:
    return parse_rack(f"{SERVER}ipxe: {ipxe}\n")


def test_a_word_is_the_source_as_before() -> None:
    assert rack("prebuilt").ipxe == IpxeSettings(source="prebuilt")
    assert parse_rack(SERVER).ipxe.source == "auto" and parse_rack(SERVER).ipxe.is_plain


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("{commands: {nslokup: true}}", ":2:19", "did you mean 'nslookup'? known: autoboot, cert"),
        ("{protocols: {htps: true}}", ":2:20", "did you mean 'https'? known: aoe, fcoe"),
        ("{commands: {ping: 1}}", ":2:19", "true or false"),
        ("{sorce: x}", ":2:8", "did you mean 'source'?"),
        ("{targets: [ipxe.exe]}", ":2:18", "known: undionly.kpxe, ipxe.pxe"),
        ("{vlan: 4095}", ":2:8", "4094"),
        ("{console: {serial: COM9}}", ":2:18", "'COM1', 'COM2'"),
        ("{console: {speed: 300}}", ":2:18", "9600"),
        ("{https: true, protocols: {https: false}}", ":2:1", "protocols turns it off"),
        ("{console: {framebuffer: true}, commands: {console: false}}", ":2:1", "turns off console, which chooses it"),
        ("{trust: [/etc/ssl/ca.pem]}", ":2:16", "below the rack's folder"),
        ("{script: ../x.ipxe}", ":2:8", "below the rack's folder"),
        ("{ref: main}", ":2:8", "pattern"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        rack(text)
    assert wrong.value.where == f"rack.yml{where}" and says in str(wrong.value)


def test_options_become_ipxes_own_headers() -> None:
    found = render_headers(
        rack(
            "{console: {serial: COM2, speed: 57600}, https: true, vlan: 7, commands: {imgverify: true, login: false}}"
        ).ipxe
    )
    assert found["general.h"].splitlines() == [
        "#undef IMAGE_TRUST_CMD", "#define IMAGE_TRUST_CMD", "#undef LOGIN_CMD",
        "#undef VLAN_CMD", "#define VLAN_CMD", "#undef DOWNLOAD_PROTO_HTTPS", "#define DOWNLOAD_PROTO_HTTPS",
    ]  # fmt: skip
    assert "#undef SERIAL_SPCR\n#undef SERIAL_FIXED\n#define SERIAL_FIXED\n" in found["serial.h"]
    assert "#define CONSOLE_SERIAL" in found["console.h"]
    assert "#define COMCONSOLE COM2" in found["serial.h"] and "#define COMSPEED 57600" in found["serial.h"]
    assert render_headers(IpxeSettings()) == {}


def test_a_framebuffer_brings_the_command_that_chooses_it() -> None:
    settings = rack("{console: {framebuffer: true}}").ipxe
    found = render_headers(settings)
    assert found["console.h"] == "#undef CONSOLE_FRAMEBUFFER\n#define CONSOLE_FRAMEBUFFER\n"
    assert found["general.h"] == "#undef CONSOLE_CMD\n#define CONSOLE_CMD\n"
    check_script(b"#!ipxe\nconsole --x 640\n", "s.ipxe", built_commands(settings.command_changes, "bios"))
    assert "#define" not in render_headers(rack("{console: {framebuffer: false}}").ipxe)["console.h"]


def test_each_feature_has_a_macro_of_its_own() -> None:
    macros = [one.macro for one in (*COMMANDS.values(), *PROTOCOLS.values())]
    assert len(macros) == len(set(macros))
    assert not ALWAYS & {word for one in COMMANDS.values() for word in one.commands}


@pytest.mark.parametrize("ipxe", ["auto", "{vlan: 42}", "{https: {port: 8443}}"])
def test_the_template_uses_only_what_is_built_in(ipxe: str) -> None:
    found = rack(ipxe)
    for platform in ("bios", "efi"):
        check_script(render_embed(found).encode(), "template", built_commands(found.ipxe.command_changes, platform))


def test_the_template_asks_by_https_on_its_port_and_on_its_vlan() -> None:
    script = render_embed(rack("{https: {port: 8443}, vlan: 42}"))
    assert "set base https://10.0.0.1:8443\n" in script and "vcreate --tag 42 net${card}" in script
    assert "https" not in render_embed(parse_rack(SERVER)) and "vcreate" not in render_embed(parse_rack(SERVER))


@pytest.mark.parametrize(
    ("raw", "where", "says"),
    [
        (b"echo hello\n", "s.ipxe:1", "not #!ipxe"),
        (b"#!ipxe\necho a\r\nshell\r\n", "s.ipxe:2", "CR LF"),
        (b"#!ipxe\n\necho ok\nfrobnicate now || ecko x\n", "s.ipxe:4", "unknown command 'frobnicate'"),
        (b"#!ipxe\nnslookup a b\n", "s.ipxe:2", "{commands: {nslookup: true}}"),
        (b"#!ipxe\nimgverify a b && boot\n", "s.ipxe:2", "{commands: {imgtrust: true}}"),
        (b"#!ipxe\necho \xff\n", "s.ipxe:2", "UTF-8"),
        (b"#!ipxe\n" + b"#" * MOST_BYTES, "s.ipxe:1", str(MOST_BYTES)),
        (b"", "s.ipxe:1", "not #!ipxe"),
    ],
)
def test_a_script_that_cannot_work_is_refused_by_its_line(raw: bytes, where: str, says: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        check_script(raw, "s.ipxe", BUILT)
    assert wrong.value.where == where and says in str(wrong.value) and wrong.value.remedy


def test_every_unknown_command_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as wrong:
        check_script(b"#!ipxe\nfoo\nchian x || bar\n", "s.ipxe", BUILT)
    assert all(part in str(wrong.value) for part in ("s.ipxe:2: ", "s.ipxe:3: ", "did you mean 'chain'?", "'bar'"))


def test_a_command_in_a_variable_is_left_to_the_boot() -> None:
    check_script(b"#!ipxe\n${what} x || shell\n:label\n# comment\n  goto label\n", "s.ipxe", BUILT)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_script_or_one_error(raw: bytes) -> None:
    try:
        check_script(raw, "s.ipxe", BUILT)
    except ConfigError as wrong:
        assert wrong.where.startswith("s.ipxe:")


def pe(machine: int, size: int) -> bytes:
    head = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x80) + bytes(0x40)
    return (head + b"PE\0\0" + struct.pack("<H", machine)).ljust(size, b"\x90")


@pytest.mark.parametrize("name", [name for name, one in BINARIES.items() if one.form == "pe"])
def test_an_efi_binary_is_of_its_own_machine_and_size(name: str) -> None:
    one = BINARIES[name]
    assert find_fault(name, pe(one.machine, one.least)) == ""
    for other in {MACHINE_ARM64, MACHINE_IA32, MACHINE_X86_64} - {one.machine}:
        assert f"machine {other:#x}" in find_fault(name, pe(other, one.least))
    assert "sane is" in find_fault(name, pe(one.machine, one.least - 1))
    assert "sane is" in find_fault(name, pe(one.machine, one.most + 1))
    assert "no EFI binary" in find_fault(name, bytes(one.least))


def test_every_other_form_is_known_by_its_first_bytes() -> None:
    for name, one in BINARIES.items():
        assert find_fault(name, bytes(one.least)), f"{name} of nothing but zeros"
    assert find_fault("undionly.kpxe", b"\xea" + bytes(50_000)) == ""
    fat = make_fat([pe(MACHINE_IA32, 300_000), pe(MACHINE_X86_64, 300_000)])
    assert find_fault("ipxe-mac.efi", fat) == ""
    assert find_fault("ipxe-mac.efi", make_fat([pe(MACHINE_X86_64, 300_000), pe(MACHINE_IA32, 300_000)]))


def test_targets_are_chosen_and_taken_apart() -> None:
    assert choose_targets((), DEFAULT_TARGETS) == DEFAULT_TARGETS
    assert set(choose_targets(("all",), ())) == set(BINARIES)
    assert compiled(("snponly-mac.efi", "snponly.efi")) == ("snponly.efi", "snponly-ia32.efi")
    assert "undionly.kpxe" not in compiled(("ipxe.iso",)) and "ipxe.lkrn" in compiled(("ipxe.iso",))
    with pytest.raises(ConfigError, match=r"no target 'ipxe\.exe'"):
        choose_targets(("ipxe.exe",), ())


def test_a_rack_gets_the_targets_that_it_names() -> None:
    assert needed_targets(parse_rack(SERVER)) == DEFAULT_TARGETS
    assert needed_targets(rack("{targets: [snponly-arm64.efi, ipxe.efi]}")) == (*DEFAULT_TARGETS, "snponly-arm64.efi")


def test_a_patch_for_one_target_gives_it_a_tree_of_its_own() -> None:
    recipe = Recipe(patches={"": {"a.patch": b"a"}, "ipxe.efi": {"b.patch": b"b"}}, trust=(b"x", b"y"))
    assert sorted(recipe.options("ipxe.efi")) == [
        "options/patches/0-a.patch",
        "options/patches/1-b.patch",
        "trust/0.pem",
        "trust/1.pem",
    ]
    assert recipe.options("snponly.efi") == recipe.options("undionly.kpxe") != recipe.options("ipxe.efi")
    assert recipe.trust_files == "/trust/0.pem,/trust/1.pem"


def test_the_table_of_features_is_upstreams(tmp_path: Path) -> None:
    from rackctl.adapters.ipxesource import find_source, in_cache, unpacked
    from rackctl.supply import CACHE

    if not in_cache(CACHE):
        pytest.skip(f"no iPXE source in {CACHE}")
    source = find_source(CACHE, "auto", print)
    assert isinstance(source, Path)
    with unpacked(source) as tree:
        general = (tree / "src/config/general.h").read_text()
        code = "\n".join(file.read_text(errors="replace") for file in tree.glob("src/**/*.c"))
    for one in (*COMMANDS.values(), *PROTOCOLS.values()):
        assert f"#define {one.macro}" in general, one.macro
    for word in {*ALWAYS, *(word for one in COMMANDS.values() for word in one.commands)}:
        assert f"COMMAND ( {word}, " in code, word


def test_signed_binaries_take_no_options_and_come_as_a_release() -> None:
    found = rack("signed")
    assert ("ipxe-signed", "v2.0.0") in [(one.name, one.version) for one in found.os_releases()]
    assert not [one for one in parse_rack(SERVER).os_releases() if one.name == "ipxe-signed"]
    for more in ("vlan: 7", "https: true", "targets: [ipxe.pxe]", "commands: {ping: true}"):
        with pytest.raises(ConfigError, match="leave out all but source and script"):
            rack(f"{{source: signed, {more}}}")


def test_a_signed_node_gets_its_loader_under_either_name() -> None:
    """By PXE upstream's shim asks for ipxe.efi whatever its own name is (ipxe/ipxe issue 1684)."""
    contents = {name: name for name in plan_files(Path("/none"), "signed")[1]}
    for loader in ("snponly", "ipxe"):
        given = swap_loaders(contents, loader)
        assert (given["snponly.efi"], given["ipxe.efi"]) == (f"{loader}.efi", f"{loader}.efi")


def test_a_shim_is_named_where_one_is_served() -> None:
    uefi, bios = arch_by_key("uefi"), arch_by_key("bios")
    assert uefi and bios
    served = plan_files(Path("/none"), "signed")[1]
    contents = {name: name for name in served}
    for loader in ("snponly", "ipxe"):
        given = swap_loaders(contents, loader)[str(loader_for(uefi, served))]
        assert given == f"{loader}-shim.efi"
    assert loader_for(uefi, served) == "snponly-shim.efi" and loader_for(bios, served) == "undionly.kpxe"
