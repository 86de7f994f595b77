"""Core. Lint a whole rack: rack.yml and its sources, then everything that is rendered from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rackctl.core.catalog import Catalog
from rackctl.core.config.merge import list_origins
from rackctl.core.config.render import render_config
from rackctl.core.config.sources import Inputs
from rackctl.core.lint.rack import RackDoc, resolve_rack
from rackctl.core.lint.rules import Finding, run_checks
from rackctl.core.lint.sources import hide_secrets, lint_sources, sharpen
from rackctl.core.lint.text import guess_kind, lint_text
from rackctl.core.lint.tree import TreeDoc, read_tree
from rackctl.core.model import Rack, hyphenate
from rackctl.core.render import render_rack
from rackctl.core.services import services_of
from rackctl.core.tree import Tree
from rackctl.errors import ConfigError

_SHOWN = 5  # lines about one machine's config
_OWN_KEYS = frozenset({"k3os"})  # its cloud-config has keys that RancherOS has not


def lint_tree(tree: Tree) -> list[Finding]:
    """Every finding in what is rendered: the tree's own rules, each script's and each config's."""
    return _lint(read_tree(tree))


def _lint(doc: TreeDoc) -> list[Finding]:
    found = list(run_checks("tree", doc))
    for path, text in doc.files.items():
        if path.endswith(".ipxe"):
            found += lint_text("ipxe", text, path)
        elif path.startswith("http/config/") and not path.endswith("/meta-data") and doc.os_of(path) not in _OWN_KEYS:
            found += lint_text(guess_kind(path, text), text, path)
    return found


def lint_rack(text: str, inputs: Inputs, catalog: Catalog) -> list[Finding]:
    """Every finding of a rack, in the file where it is to be mended. Nothing is fetched, no engine is needed."""
    doc = resolve_rack(text, inputs, catalog)
    found = [replace(one, file=one.file or "rack.yml") for one in run_checks("rack", doc)]
    if doc.rack is None or doc.faults:
        return hide_secrets(found, inputs)
    try:
        images = dict.fromkeys(services_of(doc.rack), "")  # their tags are of no concern here
        tree = render_rack(doc.rack, {}, {}, "lint", images, catalog, inputs)
    except ConfigError as wrong:
        where, _, line = wrong.where.partition(":")
        number = int(line.split(":")[0]) if line.split(":")[0].isdigit() else 1
        return [*found, Finding("RK001", "error", wrong.message, number, 1, where or "rack.yml")]
    return _gather(found, doc, _at_sources(lint_tree(tree), doc, inputs, catalog), inputs)


def _gather(found: list[Finding], doc: RackDoc, moved: list[Finding], inputs: Inputs) -> list[Finding]:
    told = sharpen(_distinct([*found, *lint_sources(doc.machines, inputs), *moved]))
    return hide_secrets(told, inputs)


def _by_machine(rendered: list[Finding], moved: list[Finding], inputs: Inputs) -> dict[str, list[str]]:
    """Machine, as in URLs, -> what is said of its config, with the place where it is to be mended."""
    found: dict[str, list[str]] = {}
    for one, source in zip(rendered, hide_secrets(moved, inputs), strict=True):
        if not one.file.startswith("http/config/"):
            continue
        machine = one.file.removeprefix("http/config/").partition("/")[0].partition(".")[0]
        lines = found.setdefault(machine, [])
        if len(lines) < _SHOWN:
            lines.append(f"{source.where}: {one.code}: {source.message}")
    return found


def _distinct(found: list[Finding]) -> list[Finding]:
    return list({(one.code, one.file, one.line, one.column, one.message): one for one in found}.values())


def _at_sources(found: list[Finding], doc: RackDoc, inputs: Inputs, catalog: Catalog) -> list[Finding]:
    """Findings in rendered cloud-configs, moved to the line of the source that gave them."""
    rack = doc.rack
    if rack is None:
        return found
    names = {hyphenate(node.mac): name for name, node in rack.nodes.items()}
    origins: dict[str, list[str]] = {}
    moved = []
    for one in found:
        key = one.file.removeprefix("http/config/")
        if key != one.file and key not in origins and (key in names or key == "default"):
            origins[key] = _origins(rack, catalog, names.get(key), key, inputs)
        lines = origins.get(key, [])
        file, _, line = (lines[one.line - 1] if one.line <= len(lines) else "").partition(":")
        moved.append(replace(one, file=file, line=int(line), column=1, fix=()) if line.isdigit() else one)
    return moved


def _origins(rack: Rack, catalog: Catalog, name: str | None, key: str, inputs: Inputs) -> list[str]:
    os = rack.os_of(rack.nodes[name] if name is not None else None)
    config = render_config(rack, catalog.get(os.name), name, key, inputs)
    return list_origins(config.files[key].decode(), config.merged) if config.merged and key in config.files else []


def stop_on_errors(
    rack: Rack, inputs: Inputs, catalog: Catalog, tree: Tree, report: Callable[[str], None]
) -> dict[str, list[str]]:
    """Warnings are told; errors raise ConfigError, before anything of the tree is served.

    Machine, as in URLs, -> the warnings about its config, a line each.
    """
    doc = resolve_rack(inputs.rack_text, inputs, catalog, rack)
    found = [replace(one, file=one.file or "rack.yml") for one in run_checks("rack", doc)]
    rendered = lint_tree(tree)
    moved = _at_sources(rendered, doc, inputs, catalog)
    found = _gather(found, doc, moved, inputs)
    for one in found:
        if one.severity == "warning":
            report(f"{one.where}: {one.code} warning: {one.message}")
    errors = [one for one in found if one.severity == "error"]
    if errors:
        head, *rest = errors
        told = f"{head.code}: {head.message}" + "".join(f"\n{one.where}: {one.code}: {one.message}" for one in rest)
        raise ConfigError(told, head.where, "rackctl lint names the source of each; --explain CODE its reason")
    return _by_machine(rendered, moved, inputs)
