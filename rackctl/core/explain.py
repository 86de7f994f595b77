"""Core. What one machine would get, from the first DHCP answer to its config, and the line of rack.yml behind each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from rackctl.core.dhcp.arch import ARCHES, Arch, choose_loaders
from rackctl.core.model import Node, Rack, hyphenate

Path = tuple[str | int, ...]
FindLine = Callable[[Path], int | None]


@dataclass(frozen=True)
class Step:
    """One answer. because: (key of rack.yml, its line or None for the default)."""

    name: str
    text: str
    because: tuple[tuple[str, int | None], ...]

    def to_json(self) -> dict[str, object]:
        """A JSON object."""
        return {"step": self.name, "text": self.text, "because": [{"key": k, "line": n} for k, n in self.because]}


@dataclass(frozen=True)
class Subject:
    """Who is asked about, and what rackctl would serve. files: path -> content of the rendered tree.

    loaders: names that TFTP serves; loaders_from: where these are known from.
    """

    rack: Rack
    mac: str
    loaders: tuple[str, ...]
    loaders_from: str
    files: Mapping[str, bytes]
    find_line: FindLine
    arch: Arch | None = None

    @property
    def named(self) -> tuple[str, Node] | None:
        """The node of rack.yml with this MAC."""
        return next(((name, node) for name, node in self.rack.nodes.items() if node.mac == self.mac), None)

    def because(self, *paths: Path) -> tuple[tuple[str, int | None], ...]:
        """Each key with its line."""
        return tuple((".".join(map(str, path)), self.find_line(path)) for path in paths)


def explain_machine(subject: Subject) -> list[Step]:
    """Every step in the order of a boot."""
    steps = [_who(subject), _address(subject)]
    ignored = subject.rack.dhcp.mode != "router" and subject.rack.unknown == "ignore" and not subject.named
    if ignored:
        text = f"rackctl leaves it unanswered: dhcp: {subject.rack.dhcp.mode} with unknown: ignore"
        return [*steps, Step("boot answer", text, subject.because(("unknown",)))]
    return [*steps, *_boot(subject), *_script(subject), *_config(subject)]


def _who(subject: Subject) -> Step:
    if not subject.named:
        return Step("machine", f"{subject.mac} is not in rack.yml: an unknown machine", ())
    name, _ = subject.named
    return Step("machine", f"{subject.mac} is node {name}", subject.because(("nodes", name, "mac")))


def _address(subject: Subject) -> Step:
    dhcp = subject.rack.dhcp
    name, node = subject.named or ("", None)
    fixed = node.address if node else None
    reserved = subject.because(("nodes", name, "address")) if fixed else ()
    if dhcp.mode != "server":
        text = "from the router" + (f"; rackctl dhcp show tells it to give {fixed}" if fixed else "")
        return Step("address", text, (*subject.because(("dhcp",)), *reserved))
    if fixed:
        return Step("address", f"{fixed}, reserved", reserved)
    if dhcp.ranges and (node or subject.rack.unknown != "ignore"):
        text = "any free one of " + ", ".join(map(str, dhcp.ranges))
        return Step("address", text, subject.because(("dhcp", "ranges")))
    keys: tuple[Path, ...] = (("dhcp", "ranges"), ("unknown",))
    return Step("address", "none: rackctl has none for it", subject.because(*keys))


def _boot(subject: Subject) -> Iterator[Step]:
    rack = subject.rack
    who = {
        "router": "the router must say",
        "proxy": "rackctl's ProxyDHCP says, beside the router",
        "server": "rackctl's DHCP says",
    }[rack.dhcp.mode]
    choices = {c.family: c for c in choose_loaders(rack.server.address, rack.server.http_port, subject.loaders)}
    because = subject.because(("dhcp",), ("server", "address"))
    http = (("server.http_port", subject.find_line(("server", "http_port"))),)
    for arch in [subject.arch] if subject.arch else ARCHES:
        choice = choices.get(arch.family)
        name = f"boot answer, {arch.title} ({arch.code})"
        if choice is None:
            yield Step(name, f"none: no loader for it in {subject.loaders_from}", subject.because(("ipxe",)))
        elif choice.http:
            yield Step(name, f"{who} file {choice.file} with option 60 HTTPClient", because + http)
        else:
            yield Step(name, f"{who} next-server {rack.server.address}, file {choice.file}", because)
    again = "no boot file: it has its script already and asks for nothing but an address"
    yield Step("boot answer, iPXE of rackctl", again, ())


def _script(subject: Subject) -> Iterator[Step]:
    name, node = subject.named or ("", None)
    base = f"http://{subject.rack.server.address}:{subject.rack.server.http_port}"
    key = hyphenate(node.mac) if node else "default"
    place = f"boot/{key}.ipxe"
    keys: list[Path] = [("server", "address"), ("server", "http_port"), *([("nodes", name)] if node else [])]
    text = f"{base}/{place}" + ("" if node else f", after {base}/boot/{hyphenate(subject.mac)}.ipxe is a 404")
    yield Step("script", text, subject.because(*keys))
    os_path: Path = ("nodes", name, "os") if node and node.os else ("os",)
    if node is None and subject.rack.unknown != "boot":
        os_path = ("unknown",)
    os = subject.rack.os_of(node)
    yield Step("system", f"{os.name} {os.version}", subject.because(os_path))
    content = subject.files.get(f"http/{place}", b"").decode(errors="replace")
    values = {"mac:hexhyp": hyphenate(subject.mac)}
    for line in content.splitlines():
        words = _fill(line, values).split(" ", 1)
        if words[0] == "set" and " " in words[-1]:
            setting, value = words[1].split(" ", 1)
            values[setting] = value
        elif words[0] in ("kernel", "initrd", "chain", "sanboot", "exit") and len(words) == 2:
            keys = [os_path, *([("kernel_args",)] if words[0] == "kernel" and subject.rack.kernel_args else [])]
            yield Step(words[0], words[1].removesuffix(" || goto failed"), subject.because(*keys))


def _fill(line: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        line = line.replace(f"${{{name}}}", value)
    return line


def _config(subject: Subject) -> Iterator[Step]:
    name, node = subject.named or ("", None)
    key = hyphenate(node.mac) if node else "default"
    keys: list[Path] = [("ssh_authorized_keys",), *([("nodes", name)] if node else [])]
    for path, content in sorted(subject.files.items()):
        head = f"http/config/{key}"
        if path == head or path.startswith((head + "/", head + ".")):
            url = f"http://{subject.rack.server.address}:{subject.rack.server.http_port}/{path.removeprefix('http/')}"
            yield Step("config", f"{url} ({len(content)} bytes)", subject.because(*keys))
