"""Core. Rules IP0xx: iPXE scripts, and the kernel line inside them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rackctl.core.lint.kernel import read_kernel_line
from rackctl.core.lint.rules import Edit, Finding, check, rule, run_checks

_VARIABLE = re.compile(r"\$\{([^}$]*)\}")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Settings that iPXE itself or the firmware's tables supply (ipxe.org/cfg).
_BUILT_IN = _words(
    "arch asset bios-version buildarch busid busloc bustype busdev chip client-id clacp country cpuid cpumodel "
    "cpuvendor cwduri cwurl dhcp-server dns dns6 domain filename gateway gateway6 hostname http-proxy ifname ip ip6 "
    "keymap len len6 linktype loader mac manufacturer memsize netmask next-server password pci platform product "
    "proxydhcp priority root-path san-filename scriptlet serial skip-san-boot sysmac syslog unixtime user-class "
    "username uuid vendor version vlan"
)
_LOADERS = ("kernel", "initrd", "imgfetch", "imgload", "chain", "boot", "imgexec", "sanboot")

NO_SHEBANG = rule(
    "IP001", "ipxe", "error", "the first line is not `#!ipxe`",
    why="iPXE tells a script from a kernel by its first line; without it the file is not run.",
    bad="echo hello\n", good="#!ipxe\necho hello\n",
)  # fmt: skip
NO_LABEL = rule(
    "IP002", "ipxe", "error", "a goto to a label that is not there",
    why="iPXE ends the script at a goto without a label; the machine drops to the firmware's menu.",
    bad="#!ipxe\nkernel http://10.0.0.1/k console=ttyS0 || goto failed\n",
    good="#!ipxe\nkernel http://10.0.0.1/k console=ttyS0 || goto failed\n:failed\nshell\n",
)  # fmt: skip
NEVER_SET = rule(
    "IP003", "ipxe", "warning", "a variable that nobody sets",
    why="An unset variable is empty text, so the URL around it points at something else.",
    bad="#!ipxe\nchain http://10.0.0.1/${nodename}.ipxe || shell\n",
    good="#!ipxe\nset nodename n1\nchain http://10.0.0.1/${nodename}.ipxe || shell\n",
)  # fmt: skip
NO_FALLBACK = rule(
    "IP004", "ipxe", "warning", "a download without `||`",
    why="When it fails, iPXE ends the script there and the machine goes to the next boot device, without a word on the "
    "screen that stays.",
    bad="#!ipxe\ninitrd http://10.0.0.1/i\n", good="#!ipxe\ninitrd http://10.0.0.1/i || shell\n",
)  # fmt: skip
NO_SUCH_INITRD = rule(
    "IP005", "ipxe", "error", "`initrd=` names an image that the script does not load",
    why="Under UEFI the kernel asks iPXE for the initrd by this name; without a match it starts with none and panics.",
    bad="#!ipxe\nkernel http://10.0.0.1/k initrd=initrd console=ttyS0 || shell\n"
    "initrd http://10.0.0.1/initrd.img || shell\n",
    good="#!ipxe\nkernel http://10.0.0.1/k initrd=initrd console=ttyS0 || shell\n"
    "initrd --name initrd http://10.0.0.1/initrd.img || shell\n",
)  # fmt: skip


@dataclass(frozen=True)
class IpxeScript:
    """The script's lines as (number, words), comments and labels included."""

    text: str
    lines: tuple[tuple[int, str], ...]

    @functools.cached_property
    def commands(self) -> list[tuple[int, int, list[str], bool]]:
        """Line, column, words and "is something done on failure?" of each command; iPXE knows no quotes."""
        return list(_cut(self))


def read_ipxe(text: str) -> IpxeScript:
    """Cut into lines."""
    return IpxeScript(text, tuple(enumerate(text.split("\n"), 1)))


def _cut(doc: IpxeScript) -> Iterator[tuple[int, int, list[str], bool]]:
    for number, line in doc.lines:
        if line.lstrip().startswith(("#", ":")):
            continue
        column = 1
        parts = re.split(r"(\s(?:&&|\|\|)(?=\s|$))", line)
        for part, joint in zip(parts[::2], [*parts[1::2], ""], strict=True):
            if words := part.split():
                yield number, column + len(part) - len(part.lstrip()), words, "||" in joint or "&&" in joint
            column += len(part) + len(joint)


@check("ipxe")
def check_script(doc: IpxeScript) -> Iterator[Finding]:
    """Labels, variables and fallbacks."""
    if doc.text.split("\n", 1)[0].rstrip("\r") != "#!ipxe":
        yield NO_SHEBANG.at(1, 1, "the first line must be #!ipxe", Edit(1, 1, 1, 1, "#!ipxe\n"))
    labels = {line.strip()[1:] for _, line in doc.lines if line.strip().startswith(":")}
    for number, column, words, caught in doc.commands:
        if words[0] == "goto" and len(words) > 1 and "$" not in words[1] and words[1] not in labels:
            yield NO_LABEL.at(number, column, f"there is no label :{words[1]}")
        if words[0] in _LOADERS and not caught and not _ends_script(doc, number):
            yield NO_FALLBACK.at(number, column, f"{words[0]} without || : a failure ends the script in silence")


def _ends_script(doc: IpxeScript, number: int) -> bool:
    return not any(line.strip() and not line.lstrip().startswith("#") for n, line in doc.lines if n > number) and (
        doc.lines[number - 1][1].split()[0] in ("boot", "chain", "sanboot", "imgexec")
    )


@check("ipxe")
def check_variables(doc: IpxeScript) -> Iterator[Finding]:
    """Every `${name}` is set, built in, or asked for with isset."""
    known = set()
    for _, _, words, _ in doc.commands:
        if words[0] in ("set", "read", "inc", "choose", "prompt", "iseq", "isset", "clear"):
            known |= {word.split(":", 1)[0] for word in words[1:]}
            known |= {
                match.split(":", 1)[0] for word in words if words[0] == "isset" for match in _VARIABLE.findall(word)
            }
    for number, line in doc.lines:
        if line.lstrip().startswith("#"):
            continue
        for match in _VARIABLE.finditer(line):
            name = match[1].split(":", 1)[0]
            if name not in known and "/" not in name and "." not in name and name not in _BUILT_IN:
                yield NEVER_SET.at(number, match.start() + 1, f"nobody sets ${{{name}}}")


@check("ipxe")
def check_kernel(doc: IpxeScript) -> Iterator[Finding]:
    """The kernel line, and the initrds it names."""
    loaded = {_image_name(words) for _, _, words, _ in doc.commands if words[0] in ("initrd", "imgfetch", "module")}
    for number, column, words, _ in doc.commands:
        if words[0] not in ("kernel", "imgexec") or len(words) < 2:
            continue
        line = doc.lines[number - 1][1]
        start = line.find(words[0], column - 1) + len(words[0])
        while (option := re.match(r"\s+(--name|-n|--timeout|-t)\s+\S+|\s+-\S+", line[start:])) is not None:
            start += option.end()
        url = re.match(r"\s+\S+", line[start:])
        start += url.end() if url else 0
        arguments = re.split(r"\s(?:&&|\|\|)(?:\s|$)", line[start:], maxsplit=1)[0]
        if not arguments.strip():
            continue
        yield from run_checks("kernel-line", read_kernel_line(arguments, number, start))
        for named in re.findall(r"(?:^|\s)initrd=(\S+)", arguments):
            if named != "initrd.magic" and named not in loaded and "$" not in named:
                at = start + arguments.find(f"initrd={named}") + 1
                yield NO_SUCH_INITRD.at(number, at, f"no initrd of the name {named} is loaded")


def _image_name(words: list[str]) -> str:
    for option in ("--name", "-n"):
        if option in words[:-1]:
            return words[words.index(option) + 1]
    named = next((word for word in words if word.startswith("--name=")), "")
    if named:
        return named.removeprefix("--name=")
    url = next((word for word in words[1:] if not word.startswith("-")), "")
    return url.split("?", 1)[0].rpartition("/")[2]
