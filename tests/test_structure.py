"""The shape of the project: short files, short functions, docstrings, rooms, and the same bytes under any hash seed."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rackctl"
CODE = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])
MOST_LINES, MOST_IN_FUNCTION = 400, 60
Function = ast.FunctionDef | ast.AsyncFunctionDef


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def parsed(files: list[Path]) -> Iterator[tuple[Path, ast.Module]]:
    for file in files:
        yield file, ast.parse(file.read_text())


def test_no_file_is_longer_than_one_reading() -> None:
    lengths = {shown(file): len(file.read_text().splitlines()) for file in CODE}
    assert len(lengths) > 100
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{shown(file)}:{node.lineno} {node.name}: {length} lines"
        for file, tree in parsed(CODE)
        for node in ast.walk(tree)
        if isinstance(node, Function) and (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_IN_FUNCTION
    ]
    assert not long, "\n".join(long)


def public(tree: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | Function]:
    """Names without an underscore. A property's setter is told of by its getter."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            if any(isinstance(mark, ast.Attribute) and mark.attr == "setter" for mark in node.decorator_list):
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def test_every_public_name_has_a_docstring() -> None:
    bare = []
    for file, tree in parsed(sorted(PACKAGE.rglob("*.py"))):
        if tree.body and not ast.get_docstring(tree):
            bare.append(f"{shown(file)}: the module")
        if "cli" not in file.relative_to(PACKAGE).parts:
            bare += [f"{shown(file)}:{node.lineno} {node.name}" for node in public(tree) if not ast.get_docstring(node)]
    assert not bare, "\n".join(bare)


def test_each_module_names_its_room() -> None:
    rooms = {"core": "Core", "adapters": "Adapter", "cli": "CLI"}
    astray = [
        shown(file)
        for folder, word in rooms.items()
        for file, tree in parsed(sorted((PACKAGE / folder).rglob("*.py")))
        if tree.body and not (ast.get_docstring(tree) or "").startswith((f"{word}.", f"{word}:", f"{word} "))
    ]
    assert not astray, "\n".join(astray)


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that a file imports, at its top or within a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_proc_starts_programs() -> None:
    starts = {"subprocess", "pty", "multiprocessing", "os.system", "os.popen"}
    who = {shown(file) for file, tree in parsed(sorted(PACKAGE.rglob("*.py"))) if starts & set(imported(tree))}
    assert who == {"rackctl/adapters/proc.py"}


# What two adapters have to say to each other goes through apply.py, but for the tools that several of them share ...
SHARED = {"proc", "imagebuild", "stepping", "workers"}
# ... and adapters that are longer than one file (iPXE, the lab, Redfish), and one that opens .deb as fetch does.
ALSO = {
    "ipxe": {"ipxesource"},
    "labpower": {"labrack"},
    "labprove": {"lab"},
    "overlay": {"fetch"},
    "redfish": {"bounded"},
}


def test_adapters_do_not_import_each_other() -> None:
    met = []
    for file, tree in parsed(sorted((PACKAGE / "adapters").rglob("*.py"))):
        mine = file.relative_to(PACKAGE / "adapters").parts[0].removesuffix(".py")
        theirs = {name.split(".")[2] for name in imported(tree) if name.startswith("rackctl.adapters.")}
        met += [f"{shown(file)} imports {other}" for other in sorted(theirs - SHARED - ALSO.get(mine, set()) - {mine})]
    assert not met, "\n".join(met)


def test_the_cli_imports_nothing_costly() -> None:
    code = (
        "import sys, rackctl.cli.app as a\n"
        "sys.argv = ['rackctl', '--help']\n"
        "try: a.main()\n"
        "finally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    costly = {"pydantic", "jinja2", "requests", "sushy", "python_on_whales", "docker", "ruamel.yaml", "rich", "yaml"}
    assert not costly & set(done.stdout.split())


RENDER = """
from rackctl.core.load import parse_rack
from rackctl.core.render import render_embed, render_rack
rack = parse_rack('''
server: {address: 10.98.0.1, http_port: 8083}
os: {name: rancheros, version: v1.5.8}
ssh_authorized_keys: [ssh-ed25519 AAAA me@here]
dhcp: {mode: router, dns: [10.98.0.2, 10.98.0.3]}
nodes:
  n1: {mac: "52:54:00:12:34:56"}
  n2: {mac: "52:54:00:12:34:57", os: {name: discovery}}
  n3: {mac: "52:54:00:12:34:58", address: 10.98.0.9}
''')
sums = {"rancheros/v1.5.8": {"vmlinuz": "a" * 64, "initrd": "b" * 64}, "discovery/builtin": {"initrd": "c" * 64}}
images = {"tftp": "rackctl/tftp:0", "microhttp": "rackctl/microhttp:0"}
tree = render_rack(rack, sums, {"undionly.kpxe": "d" * 64, "ipxe.efi": "e" * 64}, "rackctl-test", images)
print(tree.id, list(tree.files), list(tree.artifacts), render_embed(rack))
"""


def test_the_same_rack_gives_the_same_tree_under_any_hash_seed() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", RENDER],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda file: file.name)
def test_each_script_stops_at_the_first_fault_and_says_what_it_is_for(script: Path) -> None:
    first, second, *rest = script.read_text().splitlines()
    assert first.startswith("#!") and second.startswith("# ")
    assert "set -euo pipefail" in rest[:20]


PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("C*.md")])
# A path in backticks that begins with a folder of this project.
OURS = re.compile(r"`((?:rackctl|compose|ipxe-build|www|bench|tests|docs|scripts)/[\w./+-]*\w/?)`")


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_and_paths_in_the_docs_are_alive(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    dead += [path for path in OURS.findall(text) if not (ROOT / path).exists()]
    assert not dead


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ +(.*)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
