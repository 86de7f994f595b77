"""Core. Rack (and what the store holds for it) in, Tree out. Pure: the same input gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from ruamel.yaml import YAML

from rackctl import __version__
from rackctl.assets import find_asset
from rackctl.core.model import Node, Rack, hyphenate
from rackctl.core.tree import Tree

DEFAULT = "default"
_CONSOLE = ("console=tty0", "console=ttyS0,115200")


def render_embed(rack: Rack) -> str:
    """The script that the iPXE binaries carry."""
    return _template("ipxe-build", "embed.ipxe.j2").render(
        server=rack.server.address, http_port=rack.server.http_port, user_class="rackctl"
    )


def render_rack(
    rack: Rack,
    releases: Mapping[str, Mapping[str, str]],
    loaders: Mapping[str, str],
    project: str,
    images: Mapping[str, str],
) -> Tree:
    """The whole tree.

    releases: `os/version` -> artifact name -> sha256; loaders: TFTP name -> sha256; project: the compose project;
    images: service -> image tag.
    """
    files = {
        "compose.yml": _template("compose", "compose.yml.j2")
        .render(rack=rack, project=project, images=images, version=__version__)
        .encode()
    }
    artifacts = {f"tftp/{name}": digest for name, digest in loaders.items()}
    for release, parts in releases.items():
        artifacts |= {f"http/os/{release}/{name}": digest for name, digest in parts.items()}
    for name, node in [(DEFAULT, None), *rack.nodes.items()]:
        key = hyphenate(node.mac) if node else DEFAULT
        files[f"http/boot/{key}.ipxe"] = render_boot_script(rack, name, node).encode()
        files[f"http/config/{key}"] = render_cloud_config(rack, None if node is None else name).encode()
    return Tree(files, artifacts)


def render_boot_script(rack: Rack, name: str, node: Node | None) -> str:
    """The iPXE script of one node, or of every machine that is not in rack.yml."""
    os = rack.os_of(node)
    base = f"http://{rack.server.address}:{rack.server.http_port}"
    return "\n".join(
        [
            "#!ipxe",
            f"# {name}: {os.name} {os.version}",
            f"set base {base}",
            f"set os ${{base}}/os/{os.name}/{os.version}",
            "kernel ${os}/vmlinuz?m=${mac:hexhyp} "
            + " ".join(("initrd=initrd", *kernel_line(rack, node)))
            + " || goto failed",
            "initrd --name initrd ${os}/initrd?m=${mac:hexhyp} || goto failed",
            "boot || goto failed",
            ":failed",
            f"echo rackctl: {os.name} {os.version} did not load from ${{os}}",
            "echo On the master: rackctl status tells what is served, rackctl up repairs it",
            "prompt --timeout 30000 Press a key for a shell, or wait to try again && shell || reboot",
            "",
        ]
    )


def kernel_line(rack: Rack, node: Node | None) -> tuple[str, ...]:
    """The kernel's arguments. No `rancher.` word may follow `--`: RancherOS then ignores it."""
    os = rack.os_of(node)
    base = f"http://{rack.server.address}:{rack.server.http_port}"
    config = f"{base}/config/{hyphenate(node.mac) if node else DEFAULT}"
    # The discovery OS reads a config too: a machine that fetched it has a working network card under Linux.
    told = f"rancher.cloud_init.datasources=[url:{config}]" if os.name == "rancheros" else f"rackctl.config={config}"
    common = (f"rackctl.server={base}", f"rackctl.os={os.name}", "BOOTIF=01-${mac:hexhyp}", *rack.kernel_args)
    return (*_CONSOLE, told, *common)


def render_cloud_config(rack: Rack, hostname: str | None) -> str:
    """RancherOS reads nothing of a file whose very first line is not `#cloud-config`."""
    content: dict[str, object] = {"hostname": hostname} if hostname else {}
    content["ssh_authorized_keys"] = list(rack.ssh_authorized_keys)
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 4096  # a wrapped SSH key is still one scalar, but nobody can compare it by eye
    yaml.dump(content, out)
    return "#cloud-config\n" + out.getvalue()


def _template(asset: str, name: str) -> Template:
    # Rendered files are scripts and YAML, never HTML: escaping would break them.
    loader = FileSystemLoader(find_asset(asset))
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    return environment.get_template(name)
