"""Every entry of the catalogue is whole, and renders the boot script that its golden file holds."""

import contextlib
import itertools
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_os import MINIMAL

from rackctl.adapters.fetch import Store, Upstream
from rackctl.core.bootscript import render_boot_script
from rackctl.core.catalog import Catalog, choose_version, fill, find_wish, parse_entry
from rackctl.core.config.render import render_config
from rackctl.core.config.sources import Inputs
from rackctl.core.load import parse_os, parse_rack
from rackctl.errors import ConfigError

GOLDEN = Path(__file__).parent.parent / "golden" / "catalog"
VERSIONS = {
    "alpine": "3.22.1",
    "debian": "20250803+deb13u8",
    "fedora-coreos": "42.20250901.3.0",
    "flatcar": "4230.2.3",
    "k3os": "v0.21.5-k3s2r1",
    "memtest86+": "7.20-1",
    "netboot.xyz": "2.0.88",
    "opensuse": "20251105",
    "rancheros": "v1.5.8",
    "talos": "v1.11.3",
    "ubuntu": "24.04.3",
}
CONFIGS = ("debian", "flatcar", "rancheros", "ubuntu")


@pytest.mark.parametrize("name", Catalog().names())
def test_the_boot_script_is_the_golden_one(name: str) -> None:
    catalog = Catalog()
    version = VERSIONS.get(name, catalog.get(name).default)
    rack = parse_rack(
        "server: {address: 10.98.101.1, http_port: 8083}\n"
        f'nodes: {{n1: {{mac: "52:54:00:12:34:56", os: {{name: {name}, version: "{version}"}}}}}}\n'
    )
    text = render_boot_script(rack, catalog, "n1", rack.nodes["n1"])
    assert_golden(f"{name}.ipxe", text)
    assert text.startswith("#!ipxe\n") and not re.search(r"(?<!\$)\{", text)
    for line in text.splitlines():
        words = line.split()
        if line.startswith("kernel"):
            assert "--" not in words and len(words) == len(set(words))
        assert len(line) < 2048, "the kernel's command line is cut at 2048 bytes on x86"


@pytest.mark.parametrize("name", [name for name in Catalog().names() if "arm64" in Catalog().get(name).architectures])
def test_the_boot_script_for_arm64_is_the_golden_one(name: str) -> None:
    catalog = Catalog()
    rack = parse_rack(
        "server: {address: 10.98.101.1, http_port: 8083}\n"
        f'nodes: {{n1: {{mac: "52:54:00:12:34:56", os: {{name: {name}, version: "{VERSIONS[name]}", arch: arm64}}}}}}\n'
    )
    text = render_boot_script(rack, catalog, "n1", rack.nodes["n1"])
    assert_golden(f"{name}-arm64.ipxe", text)
    assert f"/os/{name}/{VERSIONS[name]}-arm64\n" in text and "ttyAMA0" in text and "ttyS0" not in text


def test_an_os_that_is_not_there_for_arm64_is_refused_with_its_line() -> None:
    text = "server: {address: 10.98.101.1}\nos:\n  name: rancheros\n  version: v1.5.x\n  arch: arm64\n"
    with pytest.raises(ConfigError, match="rancheros is not there for arm64, only for amd64"):
        parse_rack(text)
    with pytest.raises(ConfigError, match="only for amd64"):
        parse_os("memtest86+", "", Catalog(), "arm64")
    assert parse_os("debian", "", Catalog(), "arm64").path == "debian/13-arm64"
    with pytest.raises(ConfigError, match="amd64"):
        parse_rack(text.replace("arm64", "riscv"))


def assert_golden(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        pytest.fail("the golden file was written; read the difference, then run without UPDATE_GOLDEN")
    assert text == file.read_text()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_machine_config_is_the_golden_one(name: str) -> None:
    entry = Catalog().get(name)
    version = "builtin" if entry.default == "builtin" else "1"
    rack = parse_rack(
        f"server: {{address: 10.98.101.1}}\nos: {{name: {name}, version: '{version}'}}\n"
        "ssh_authorized_keys: [ssh-ed25519 AAAA me@h]\nnodes: {n1: {mac: '52:54:00:12:34:56'}}\n"
    )
    files = render_config(rack, entry, "n1", "52-54-00-12-34-56", Inputs()).files
    assert_golden(f"{name}.config", "".join(f"--- {path}\n{content.decode()}" for path, content in files.items()))


def test_every_golden_file_has_its_entry() -> None:
    assert {file.stem.removesuffix("-arm64") for file in GOLDEN.glob("*.ipxe")} == set(Catalog().names())


@pytest.mark.parametrize("name", Catalog().names())
def test_the_default_can_be_resolved(name: str) -> None:
    entry = Catalog().get(name)
    exact = entry.index.exact and re.fullmatch(entry.index.exact, entry.default)
    assert exact or find_wish(entry, entry.default)


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("title", "titel"), 1, "did you mean 'title'?"),
        (("{version}/vml", "{verzion}/vml"), 6, "{verzion} stands for nothing here"),
        (("https://example.org/{", "ftp://example.org/{"), 6, "not an http or https URL"),
        (("kind: fixed", "kind: magic"), 5, "index.kind"),
        (("{kind: fixed", "{kind: github"), 5, "needs repository"),
        (("role: kernel", "role: file"), 1, "role: kernel"),
        (('url: "', 'package: x, url: "'), 6, "one of url, package and entry"),
        (("about: Mine", "about: Mine\nwishes: [{match: '('}]"), 3, "not a regular expression"),
        (("about: Mine", "about: Mine\nkernel_args: [a b]"), 3, "one argument per line"),
        (("about: Mine", "about: Mine\nsums: {url: 'https://h/s', signature: inline}"), 1, "signatures need keys"),
        (("about: Mine", "about: ["), 4, "YAML"),
    ],
)
def test_a_fault_names_its_line(change: tuple[str, str], line: int, says: str) -> None:
    assert parse_entry(MINIMAL, "my.yml").title == "My OS"
    with pytest.raises(ConfigError) as caught:
        parse_entry(MINIMAL.replace(*change, 1), "my.yml")
    assert says in str(caught.value)
    assert caught.value.where.startswith(f"my.yml:{line}")


@given(st.text(max_size=200))
def test_any_text_is_an_entry_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse_entry(text, "my.yml")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefgh")
)
INDEX = 'index: {kind: fixed, version: "1"}'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (INDEX, 'index: {kind: text, url: "https://example.org/", pattern: "a+"}', "pattern needs a group"),
        (INDEX, f"wishes: [{{match: 'a(b)?', release: \\9}}]\n{INDEX}", "invalid group reference"),
        (INDEX, f"wishes: [{{match: 'a', release: '\\g<x>'}}]\n{INDEX}", "unknown group name"),
        (INDEX, f"wishes: [{{match: '(', release: a}}]\n{INDEX}", "not a regular expression"),
        ("title: My OS", f"{BOMB}title: My OS", "aliases stand for more"),
        ("name: vmlinuz", "name: ../../../etc/cron.d/x", "artifacts.0.name"),
        ("name: vmlinuz", "name: .", "artifacts.0.name"),
        ("https://example.org/{version}/vmlinuz", "file:///etc/shadow", "not an http or https URL"),
        ('default: "1"', "default: 1", "default"),
        ("title: My OS", "title: [x]", "title"),
        ("role: kernel", "role: shell", "role"),
        ('index: {kind: fixed, version: "1"}', "index: 7", "index"),
        ("title: My OS", "architectures: {mips: x}\ntitle: My OS", "architectures"),
    ],
)
def test_a_hostile_entry_is_one_config_error(old: str, new: str, says: str) -> None:
    assert old in MINIMAL
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_entry(MINIMAL.replace(old, new), "x.yml")


@pytest.mark.parametrize("name", ["A", "a b", "..", "a/../b", "x" * 42, "-a"])
def test_an_own_entry_with_a_name_that_is_no_url_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name for an OS"):
        Catalog({name: MINIMAL}).get(name)


@pytest.mark.parametrize("name", VERSIONS)
def test_a_locked_version_fills_every_word_of_its_entry(name: str, tmp_path: Path) -> None:
    entry = Catalog().get(name)
    one = Upstream(name, entry, entry.default, Store(tmp_path), print)
    one.settle(VERSIONS[name])
    texts = [entry.index.package, *([entry.sums.url] if entry.sums else [])]
    for file in entry.artifacts:
        texts += [*file.urls, file.package, file.member, file.entry, file.listed, file.signature or ""]
    assert not [text for text in texts if re.search(r"(?<!\$)\{", one.fill(text))]


def test_the_users_own_entry_adds_and_overrides() -> None:
    catalog = Catalog({"myos": MINIMAL, "rancheros": MINIMAL})
    assert catalog.get("rancheros").title == "My OS" and "myos" in catalog.names()
    rack = parse_rack("server: {address: 10.0.0.1}\nos: {name: myos, version: '1'}\n", catalog=catalog)
    assert "kernel ${os}/vmlinuz" in render_boot_script(rack, catalog, "default", None)


@pytest.mark.parametrize("name", ["ranchros", "../../etc/passwd", "Debian"])
def test_an_unknown_name_suggests_or_lists(name: str) -> None:
    with pytest.raises(ConfigError):
        Catalog().get(name)


def test_rack_yml_with_an_unknown_os_names_the_line_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack("server: {address: 10.0.0.1}\nos: {name: ranchros, version: v1}\n")
    assert caught.value.where.startswith("rack.yml:2:") and "did you mean 'rancheros'?" in caught.value.message


def test_words_are_filled_and_ipxe_settings_left_alone() -> None:
    assert fill("a={version} ${mac} ${net0/ip}", {"version": "1"}) == "a=1 ${mac} ${net0/ip}"


@pytest.mark.parametrize(
    ("wish", "newest"),
    [
        ("v0.21.x", "v0.21.5-k3s2r1"),
        ("latest", "v0.22.2-k3s2r0"),
        ("v0.21.5-k3s1r0", "v0.21.5-k3s1r0"),
        ("v9.x", None),
    ],
)
def test_suffixed_versions_are_compared_by_their_numbers(wish: str, newest: str | None) -> None:
    tags = ["v0.21.5-k3s1r0", "v0.21.5-k3s2r1", "v0.22.2-k3s2r0", "v0.22.3-rc1"]
    assert choose_version(wish, tags, r"v\d+\.\d+\.\d+-k3s\d+r\d+") == newest


@given(st.text(), st.lists(st.text()))
def test_any_wish_is_answered(wish: str, published: list[str]) -> None:
    assert choose_version(wish, published) in [None, *published]
