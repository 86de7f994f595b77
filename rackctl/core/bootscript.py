"""Core. The iPXE script of one machine, from its OS' catalogue entry."""

from __future__ import annotations

from collections.abc import Callable

from rackctl.core.catalog import Artifact, Catalog, Entry, fill, find_wish
from rackctl.core.config.render import MachineConfig, render_config
from rackctl.core.config.sources import Inputs
from rackctl.core.model import Node, OsRef, Rack, hyphenate
from rackctl.errors import ConfigError

DEFAULT = "default"
# The serial port: a PC's first, or the one that Arm's Server Base System Architecture wants.
_CONSOLE = {
    "amd64": ("console=tty0", "console=ttyS0,115200"),
    "arm64": ("console=tty0", "console=ttyAMA0,115200"),
}
_MAC = "m=${mac:hexhyp}"


def render_boot_script(
    rack: Rack,
    catalog: Catalog,
    name: str,
    node: Node | None,
    config: MachineConfig | None = None,
    overlay: str = "",
    suffix: str = "",
) -> str:
    """The script of one node, or of every machine that is not in rack.yml. config: its own, if rendered already.

    overlay: the file that its initrd gets on top. suffix: of the machine's name in the URL of its config, when it has
    several. Raises ConfigError for an unknown OS.
    """
    os = rack.os_of(node)
    entry = catalog.get(os.name)
    head = ["#!ipxe", f"# {name}: {os.name} {os.version}", f"set base {script_url(rack)}"]
    if entry.boot == "local":
        return render_local_script(rack, name, told=node is not None or rack.unknown != "ignore")
    head.append(f"set os ${{base}}/os/{os.path}")
    chained = entry.boot == "chain"
    body = _chain(entry) if chained else _kernel(entry, kernel_line(rack, catalog, node, config, suffix), overlay)
    return "\n".join(
        [
            *head,
            *body,
            ":failed",
            f"echo rackctl: {os.name} {os.version} did not load from ${{os}}",
            "echo On the master: rackctl status tells what is served, rackctl up repairs it",
            "prompt --timeout 30000 Press a key for a shell, or wait to try again && shell || reboot",
            "",
        ]
    )


def base_url(rack: Rack) -> str:
    """Where microhttp answers, for the system that is booted: it does not trust the rack's own CA."""
    return f"http://{rack.server.address}:{rack.server.http_port}"


def script_url(rack: Rack) -> str:
    """Where microhttp answers iPXE."""
    return f"https://{rack.server.address}:{rack.ipxe.https.port}" if rack.ipxe.https else base_url(rack)


def script_port(rack: Rack) -> int:
    """The TCP port of `script_url`."""
    return rack.ipxe.https.port if rack.ipxe.https else rack.server.http_port


def kernel_line(
    rack: Rack, catalog: Catalog, node: Node | None, config: MachineConfig | None = None, suffix: str = ""
) -> tuple[str, ...]:
    """The kernel's arguments. Raises ConfigError when the catalogue wants a word that this version does not give."""
    os = rack.os_of(node)
    entry = catalog.get(os.name)
    base = base_url(rack)
    words = {
        **version_words(entry, os),
        "base": base,
        "server": rack.server.address,
        "os": f"{base}/os/{os.path}",
        "config": f"{base}/config/{hyphenate(node.mac) if node else DEFAULT}{suffix}",
        "mac": "${mac:hexhyp}",
    }
    config = config or render_config(rack, entry, None, DEFAULT, Inputs())
    try:
        told = [fill(word, words) for word in (*entry.kernel_args, *(entry.config.args if config.files else ()))]
    except KeyError as unknown:
        raise ConfigError(f"{os.name} {os.version} gives no {{{unknown.args[0]}}} for its kernel line") from unknown
    if node is None and os.name == "discovery" and rack.discovered != "wait":
        told.append(f"rackctl.then={rack.discovered}")
    common = (f"rackctl.server={base}", f"rackctl.os={os.name}", "BOOTIF=01-${mac:hexhyp}", *rack.kernel_args)
    return (*_CONSOLE[os.arch], *told, *config.words, *common)


def version_words(entry: Entry, os: OsRef) -> dict[str, str]:
    """What a version gives to the `{words}` of its catalogue entry."""
    found = find_wish(entry, os.version)
    words = {name: text for name, text in (found[1] if found else {}).items() if text}
    return {**words, "version": os.version, "arch": os.arch, "os_arch": entry.architectures.get(os.arch, os.arch)}


def _kernel(entry: Entry, line: tuple[str, ...], overlay: str) -> list[str]:
    kernels = [one for one in entry.artifacts if one.role == "kernel"]
    initrds = [one.name for one in entry.artifacts if one.role == "initrd"]
    initrds += [overlay] if overlay else []
    # On UEFI the kernel's EFI stub finds its initrd by this word; iPXE's BIOS loader ignores it. Several are one file
    # only under iPXE's own name for them all.
    told = "initrd.magic" if len(initrds) > 1 else initrds[0] if initrds else ""
    words = " ".join(([f"initrd={told}"] if told else []) + list(line))
    lines = _by_firmware(kernels, lambda one: f"kernel ${{os}}/{one.name}?{_MAC} {words} || goto failed")
    lines += [f"initrd --name {name} ${{os}}/{name}?{_MAC} || goto failed" for name in initrds]
    return [*lines, "boot || goto failed"]


def _chain(entry: Entry) -> list[str]:
    loaders = [one for one in entry.artifacts if one.role == "loader"]
    lines = _by_firmware(loaders, lambda one: f"chain --autofree ${{os}}/{one.name}?{_MAC} || goto failed")
    return [*lines, "exit 0"]


def _by_firmware(files: list[Artifact], line: Callable[[Artifact], str]) -> list[str]:
    efi = [one for one in files if one.firmware != "bios"]
    bios = [one for one in files if one.firmware != "uefi"]
    if efi == bios:
        return [line(files[0])]
    return ["iseq ${platform} efi && goto efi ||", line(bios[0]), "goto loaded", ":efi", line(efi[0]), ":loaded"]


def render_local_script(rack: Rack, name: str, *, told: bool = True) -> str:
    """The script that hands over to the machine's own disk. told: it checks in as `local` first, so that rackctl knows.

    UEFI firmware takes the next entry of its boot order when the loader ends well; a BIOS machine boots its first disk.
    """
    head = ["#!ipxe", f"# {name}: the machine's own disk", f"set base {script_url(rack)}"]
    tell = ["imgfetch --name told --timeout 3000 ${base}/checkin?mac=${mac:hexhyp}&state=local && imgfree told ||"]
    return "\n".join(
        [
            *head,
            *(tell if told else []),
            "iseq ${platform} efi && exit 0 ||",
            "sanboot --no-describe --drive 0x80 || goto failed",
            ":failed",
            "echo rackctl: the first disk does not boot",
            "prompt --timeout 30000 Press a key for a shell, or wait to try again && shell || reboot",
            "",
        ]
    )
