"""Whatever valid sources say, the cloud-config that is rendered from them passes its own linter and reads back."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rackctl.core.catalog import Catalog
from rackctl.core.config.render import render_config
from rackctl.core.config.sources import Inputs
from rackctl.core.lint.text import lint_text
from rackctl.core.load import parse_rack
from rackctl.core.yamldoc import dump_yaml, parse_yaml, to_plain

CATALOG = Catalog()
TEXT = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["yes", "0644", "1:30", "~", "null", "1e3", "a: b", "# x", "- y"]
)
NAME = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
PATH = st.from_regex(r"/[a-z]{1,8}(/[a-z.]{1,8}){0,2}[a-z]", fullmatch=True)
FILES = st.lists(
    st.fixed_dictionaries(
        {"path": PATH, "content": TEXT}, optional={"permissions": st.sampled_from(["0644", "0755", "600", "4755"])}
    ),
    max_size=3,
)
SERVICE = st.fixed_dictionaries(
    {"image": st.sampled_from(["nginx:1.27.2", "a/b@sha256:0"])},
    optional={"environment": st.dictionaries(NAME, TEXT, max_size=2), "command": st.lists(TEXT, max_size=2)},
)
RANCHER = st.fixed_dictionaries(
    {},
    optional={
        "sysctl": st.dictionaries(NAME, TEXT | st.integers(0, 9999), max_size=3),
        "environment": st.dictionaries(NAME, TEXT, max_size=3),
        "debug": st.booleans(),
        "modules": st.lists(NAME, max_size=3, unique=True),
        "services": st.dictionaries(NAME, SERVICE, max_size=2),
    },
)
COMMAND = st.from_regex(r"echo [a-z0-9:#'\" ]{0,20}", fullmatch=True)
SOURCE = st.fixed_dictionaries(
    {},
    optional={
        "hostname": NAME,
        "write_files": FILES,
        "rancher": RANCHER,
        "runcmd": st.lists(
            COMMAND | st.lists(TEXT, min_size=1, max_size=3).map(lambda words: ["echo", *words]), max_size=3
        ),
    },
)


@settings(max_examples=80, deadline=None)
@given(rack=SOURCE, node=SOURCE)
def test_any_rendered_cloud_config_passes_its_own_linter(rack: dict[str, Any], node: dict[str, Any]) -> None:
    texts = {"a.yml": dump_yaml(rack), "b.yml": "#cloud-config\n" + dump_yaml(node)}
    text = (
        "server: {address: 10.98.0.1}\nos: {name: rancheros, version: v1.5.8}\nconfig: [a.yml]\n"
        "join: {kind: k3s, server: 10.98.0.1, token: t}\n"
        "nodes: {n1: {mac: '52:54:00:12:34:56', config: [b.yml]}}\n"
    )
    inputs = Inputs(texts, {"t": "token"}, {}, text)
    rendered = render_config(parse_rack(text), CATALOG.get("rancheros"), "n1", "k", inputs)
    content = rendered.files["k"].decode()
    assert content.split("\n", 1)[0] == "#cloud-config"
    assert [one for one in lint_text("cloud-config", content) if one.severity == "error"] == []
    root, second = parse_yaml(content)
    assert root is not None and second is None
    assert rendered.merged is not None
    assert to_plain(root) == to_plain(rendered.merged)
