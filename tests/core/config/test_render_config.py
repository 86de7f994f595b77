import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from rackctl.core.catalog import Catalog
from rackctl.core.config.sources import Inputs
from rackctl.core.lint.run import lint_tree
from rackctl.core.lint.text import lint_text
from rackctl.core.load import parse_rack
from rackctl.core.render import render_rack
from rackctl.core.tree import Tree
from rackctl.core.yamldoc import parse_yaml
from rackctl.errors import ConfigError

CASE = Path(__file__).parents[2] / "cases" / "config" / "rack"
GOLDEN = Path(__file__).parents[2] / "golden" / "config"
IMAGES = {"tftp": "rackctl/tftp:0", "microhttp": "rackctl/microhttp:0"}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbSmC9NwvqUcRYVOYSbfY9PyqR9X6SjwMtbqTj0zkWW"
SECRETS = {
    "k3s-token": "K10canary-k3s::node:pw\n", "rancher-token": "canary-rancher", "swarm-token": "SWMTKN-canary",
    "kubeadm-token": "abcdef.canary0123456789", "rke2-token": "canary-rke2", "talos-token": "canary-talos",
    "console-password": "0123",
}  # fmt: skip


def inputs(text: str = "", **texts: str) -> Inputs:
    found = {str(file.relative_to(CASE)): file.read_text() for file in (CASE / "config").iterdir()}
    keys = {"keys/ops.pub": (f"{KEY} ops@rack",), "github:octo": (f"{KEY[:-4]}zkWX octo",)}
    return Inputs(found | texts, SECRETS, keys, text or (CASE / "rack.yml").read_text())


def render(text: str = "", **texts: str) -> Tree:
    given = inputs(text, **texts)
    return render_rack(parse_rack(given.rack_text), {}, {}, "p", IMAGES, inputs=given)


def test_every_kind_of_config_is_the_golden_one() -> None:
    tree = render().files
    shown = {path: content for path, content in tree.items() if path.startswith(("http/boot/", "http/config/"))}
    overlay = "http/config/52-54-00-00-00-09.apkovl.tar.gz"
    shown[overlay.removesuffix(".tar.gz")] = list_overlay(shown.pop(overlay))
    if os.environ.get("UPDATE_GOLDEN"):
        for path, content in shown.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_bytes(content)
        pytest.fail("golden files were written; read the difference, then run without UPDATE_GOLDEN")
    wanted = {str(f.relative_to(GOLDEN)): f.read_bytes() for f in GOLDEN.rglob("*") if f.is_file()}
    assert shown == wanted


def list_overlay(content: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as archive:
        lines = []
        for entry in archive:
            body = archive.extractfile(entry) if entry.isfile() else None
            lines.append(f"{entry.mode:o} {entry.name} {entry.linkname}\n{body.read().decode() if body else ''}")
    return "".join(lines).encode()


def test_a_secret_is_in_the_files_of_its_nodes_alone() -> None:
    files = {path: content.decode("latin-1") for path, content in render().files.items()}
    for path, content in files.items():
        if path.endswith(".apkovl.tar.gz"):
            content = gzip.decompress(content.encode("latin-1")).decode("latin-1")
        named = any(f"52-54-00-00-00-{n:02x}" in path for n in range(1, 11))
        assert named or not any(secret.strip() in content for secret in SECRETS.values()), path
    assert "canary-k3s" in files["http/config/52-54-00-00-00-01"]
    assert "rancher.password='0123'" in files["http/boot/52-54-00-00-00-01.ipxe"]


@pytest.mark.parametrize("name", ["default", "52-54-00-00-00-01", "52-54-00-00-00-02", "52-54-00-00-00-04"])
def test_a_rendered_cloud_config_passes_its_own_linter(name: str) -> None:
    text = render().files[f"http/config/{name}"].decode()
    assert [one for one in lint_text("cloud-config", text)] == []


def test_every_rendered_script_passes_the_linter() -> None:
    for path, content in render().files.items():
        if path.endswith(".ipxe"):
            assert [one for one in lint_text("ipxe", content.decode()) if one.severity == "error"] == [], path


def test_the_whole_tree_passes_the_linter_with_the_files_of_its_systems_in_it() -> None:
    given = inputs()
    rack = parse_rack(given.rack_text)
    catalog = Catalog()
    releases = {
        f"{os.name}/{os.version}": {one.name: "0" * 64 for one in catalog.get(os.name).artifacts}
        for os in rack.os_releases()
    }
    tree = render_rack(rack, releases, {}, "p", IMAGES, inputs=given)
    assert [one for one in lint_tree(tree) if one.severity == "error"] == []
    fewer = {**releases, "rancheros/v1.5.8": {"vmlinuz": "0" * 64}}
    found = lint_tree(render_rack(rack, fewer, {}, "p", IMAGES, inputs=given))
    assert {one.code for one in found if one.severity == "error"} == {"TR001"}


def test_a_disk_is_formatted_only_where_the_node_says_so() -> None:
    files = render().files
    assert b"rancher.state.autoformat=[/dev/sda,/dev/vda]" in files["http/boot/52-54-00-00-00-01.ipxe"]
    assert b"rancher.state.dev=LABEL=RANCHER_STATE" in files["http/boot/52-54-00-00-00-02.ipxe"]
    assert b"autoformat" not in files["http/boot/52-54-00-00-00-02.ipxe"]


def test_what_is_early_is_on_the_kernel_line_and_not_in_the_file() -> None:
    files = render().files
    script, config = files["http/boot/52-54-00-00-00-01.ipxe"].decode(), files["http/config/52-54-00-00-00-01"].decode()
    assert 'cc.bootcmd=["echo early","mkdir -p /mnt/a"]' in script
    assert "rancher.autologin=ttyS0" in script
    for early in ("state:", "bootcmd", "password", "autologin"):
        assert early not in config


def test_the_discovery_os_runs_no_command_that_was_written_for_another_system() -> None:
    text = (CASE / "rack.yml").read_text().replace("unknown: boot", "unknown: discover")
    files = render(text).files
    assert b"echo hello" not in files["http/config/52-54-00-00-00-04"]
    assert files["http/config/default"].endswith(b"runcmd:\n- /var/lib/rackctl/set-hostname.sh\n")


def test_the_same_rack_gives_the_same_bytes() -> None:
    assert render().id == render().id


def test_ignition_is_json_with_the_nodes_name_and_unit() -> None:
    data = json.loads(render().files["http/config/52-54-00-00-00-05"])
    assert {file["path"] for file in data["storage"]["files"]} >= {"/etc/hostname", "/etc/ntp.conf"}
    names = [unit["name"] for unit in data["systemd"]["units"]]
    assert names[-3:] == ["rackctl-join.service", "rackctl-checkin.service", "docker.service"]


BASE = "server: {address: 10.98.0.1}\n"
NODE = "nodes: {n1: {mac: '52:54:00:12:34:56'%s}}\n"


@pytest.mark.parametrize(
    ("rack", "texts", "where", "says"),
    [
        ("config: [a.yml]\n", {}, "rack.yml", "no config source a.yml"),
        ("config: [a.yml]\n", {"a.yml": "a: [\n"}, "a.yml:2:1", "did not find"),
        ("config: [a.yml.j2]\n", {"a.yml.j2": "\na: {{ nope }}\n"}, "a.yml.j2:2", "'nope' is undefined"),
        ("config: [a.yml.j2]\n", {"a.yml.j2": "{% if %}\n"}, "a.yml.j2:1", "template"),
        ("config: [a.yml.j2]\n", {"a.yml.j2": "a: {{ secret('k3s-token') }}\n"}, "a.yml.j2", "not in rack.yml"),
        ("config: [a.yml]\n", {"a.yml": "a: !secret k3s-token\n"}, "a.yml:1", "would reach every machine"),
        ("config: [a.yml, b.yml]\n", {"a.yml": "a: [1]\n", "b.yml": "a: {b: 1}\n"}, "b.yml:1:4", "a.yml:1"),
        ("ssh_authorized_keys: [github:nobody]\n", {}, "rack.yml", "github:nobody is not there"),
        ("join: {kind: k3s, server: 10.0.0.1, token: nope}\n", {}, "rack.yml: node n1", "no secret 'nope'"),
        ("os: {name: rancheros, version: v1.5.8}\njoin: {kind: rke2, server: a, token: rke2-token}\n", {}, "rack.yml",
         "needs systemd"),
        ("os: {name: debian, version: '13'}\njoin: {kind: kubeadm, server: a, token: rke2-token, role: server}\n", {},
         "rack.yml", "certificate key"),
        ("os: {name: flatcar, version: 4081.2.0}\nconfig: [a.bu]\n",
         {"a.bu": "variant: flatcar\nstorage:\n  fils: []\n"}, "a.bu:3:3", "does not know"),
    ],
)  # fmt: skip
def test_a_fault_in_a_source_names_its_place(rack: str, texts: dict[str, str], where: str, says: str) -> None:
    text = BASE + rack + NODE % ""
    with pytest.raises(ConfigError) as caught:
        render_rack(parse_rack(text), {}, {}, "p", IMAGES, inputs=Inputs(texts, SECRETS, {}, text))
    assert caught.value.where == where
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("rack", "says"),
    [
        ("config: [../secret.yml]\n", "below the rack's folder"),
        ("config: [/etc/passwd]\n", "below the rack's folder"),
        ("join: {kind: k3s}\n", "needs server and token"),
        ("join: {kind: k3s, server: a, token: 'K10abc::node:x'}\n", "not the secret itself"),
        ("hostnames: {pattern: 'a_{mac}'}\n", "no host name"),
        ("hostnames: {table: {xx: a}}\n", "not a MAC"),
    ],
)
def test_a_fault_in_rack_yml_is_named(rack: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rack(BASE + rack)
    assert says in caught.value.message


def test_yaml_that_is_served_parses() -> None:
    for path, content in render().files.items():
        if path.startswith("http/config/") and not path.endswith((".gz", "-05", "-06")):
            assert parse_yaml(content.decode())[0] is not None


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ rack.parse_file('/etc/hostname') }}", "unsafe"),
        ("{{ rack|attr('parse_raw') }}", "unsafe"),
        ("{{ server['model_construct'] }}", "unsafe"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "rounds"),
        ("{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(40) }}", "rounds"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
        ("{{ 'x' * 10 ** 12 }}", "makes more than"),
        ("{{ 9 ** (9 ** 9) }}", "makes more than"),
    ],
)
def test_a_template_reads_no_file_and_comes_to_an_end(template: str, says: str) -> None:
    text = BASE + "config: [a.yml.j2]\n" + NODE % ""
    given = Inputs({"a.yml.j2": "#\na: " + template}, {}, {}, text)
    with pytest.raises(ConfigError, match=says) as caught:
        render_rack(parse_rack(text), {}, {}, "p", IMAGES, inputs=given)
    assert caught.value.where.startswith("a.yml.j2:2")


@pytest.mark.parametrize(
    "os", ["flatcar, version: 4081.2.0", "ubuntu, version: '24.04'", "debian, version: '13'", "alpine, version: v3.20"]
)
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("write_files: [{path: /a, content: '!', encoding: b64}]", "not b64"),
        ("write_files: [{path: /a, content: a, encoding: gzip}]", "not gzip"),
        ("write_files: [{path: /a, permissions: rw}]", "octal"),
        ("write_files: [{path: ../a}]", "absolute"),
        ("runcmd: {a: b}", "no command"),
        ("runcmd: echo a", "no command"),
        ("runcmd: ['a: b', {a: b}]", "no command"),
    ],
)
def test_what_no_system_can_write_or_run_is_refused_with_its_place(os: str, source: str, says: str) -> None:
    text = BASE + NODE % f", os: {{name: {os}}}, config: [a.yml]"
    with pytest.raises(ConfigError, match=says) as caught:
        render_rack(parse_rack(text), {}, {}, "p", IMAGES, inputs=Inputs({"a.yml": source}, {}, {}, text))
    assert caught.value.where == "a.yml:1"
