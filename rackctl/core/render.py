"""Core. Rack (and what the store holds for it) in, Tree out. Pure: the same input gives the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from rackctl import __version__
from rackctl.assets import find_asset
from rackctl.core.bootscript import DEFAULT, render_boot_script, render_local_script, script_port, script_url
from rackctl.core.catalog import Catalog
from rackctl.core.config.render import render_config
from rackctl.core.config.sources import Inputs
from rackctl.core.dhcp.arch import http_loaders, swap_loaders
from rackctl.core.dhcp.daemon import render_dnsmasq
from rackctl.core.macrender import RESPONDER_CONF, render_mac_files
from rackctl.core.model import Rack, hyphenate
from rackctl.core.statustree import code_id, render_status_files
from rackctl.core.tree import Tree


def render_embed(rack: Rack, boot: str = "boot") -> str:
    """The script that the iPXE binaries carry. boot: the folder of HTTP where it looks for the machine's script."""
    return _template("ipxe-build", "embed.ipxe.j2").render(
        base=script_url(rack), port=script_port(rack), user_class="rackctl", boot=boot, vlan=rack.ipxe.vlan
    )


def render_rack(
    rack: Rack,
    releases: Mapping[str, Mapping[str, str]],
    loaders: Mapping[str, str],
    project: str,
    images: Mapping[str, str],
    catalog: Catalog | None = None,
    inputs: Inputs | None = None,
    overlays: Mapping[str, tuple[str, str]] | None = None,
    tls: str = "",
) -> Tree:
    """The whole tree.

    releases: an OS' path below `os/` -> artifact name -> sha256; loaders: TFTP name -> sha256; project: the compose
    project; images: service -> image tag; inputs: what stands beside rack.yml; overlays: machine, as in URLs -> name
    and sha256 of what its initrd gets on top; tls: of microhttp's certificate, the first digits of its sha256.
    """
    catalog = catalog or Catalog()
    inputs = inputs or Inputs()
    files = render_mac_files(rack, catalog, loaders, inputs)
    bsdp = hashlib.sha256(files.get(RESPONDER_CONF, b"")).hexdigest()[:16]
    dnsmasq = render_dnsmasq(rack, loaders).encode()
    # Compose restarts a container when its own part of the file changed, and not when a file it reads did.
    conf = hashlib.sha256(dnsmasq).hexdigest()[:16]
    compose = _template("compose", "compose.yml.j2")
    ids = {"bsdp": bsdp, "conf": conf, "status_code": code_id(), "tls": tls}
    files["compose.yml"] = compose.render(
        rack=rack, project=project, images=images, version=__version__, **ids
    ).encode()
    files["dnsmasq.conf"] = dnsmasq
    artifacts = {f"tftp/{name}": digest for name, digest in loaders.items()}
    artifacts |= {f"http/ipxe/{name}": loaders[name] for name in http_loaders(loaders)}
    for release, parts in releases.items():
        artifacts |= {f"http/os/{release}/{name}": digest for name, digest in parts.items()}
    configs = set()
    for name, node in [(DEFAULT, None), *rack.nodes.items()]:
        key = hyphenate(node.mac) if node else DEFAULT
        config = render_config(rack, catalog.get(rack.os_of(node).name), name if node else None, key, inputs)
        files.update({f"http/config/{path}": content for path, content in config.files.items()})
        if config.files:
            configs.add(key)
        if node and node.loader:
            own = swap_loaders(loaders, node.loader)
            artifacts |= {f"tftp/{key}/{loader}": digest for loader, digest in own.items()}
        overlay, digest = (overlays or {}).get(key, ("", ""))
        if overlay:
            os = rack.os_of(node)
            artifacts[f"http/os/{os.path}/{overlay}"] = digest
        files[f"http/boot/{key}.ipxe"] = render_boot_script(rack, catalog, name, node, config, overlay).encode()
        if node and node.boot in ("once", "reinstall"):  # microhttp serves this one as soon as the node is installed
            files[f"http/boot/{key}.installed.ipxe"] = render_local_script(rack, name).encode()
    return Tree(files | render_status_files(rack, catalog, configs), artifacts)


def _template(asset: str, name: str) -> Template:
    # Rendered files are scripts and YAML, never HTML: escaping would break them.
    loader = FileSystemLoader(find_asset(asset))
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    return environment.get_template(name)
