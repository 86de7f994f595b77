"""Core. Rules KL0xx: the kernel line, cut into words as RancherOS v1.5.5 and later cut it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from rackctl.core.config.schema import CLOUD_CONFIG, Type
from rackctl.core.lint.rules import Edit, Finding, check, rule
from rackctl.core.yamldoc import Value, read_scalar

# Linux: COMMAND_LINE_SIZE is 2048 with its NUL on x86 (arch/x86/include/asm/setup.h) and arm64; iPXE cuts off silently.
MAX_LENGTH = 2047
_BASE = "console=ttyS0,115200 "
_REPEATABLE = frozenset({"console", "earlyprintk", "rancher.autologin", "ip", "modprobe.blacklist", "initrd", "BOOTIF"})
_KERNEL_ONLY = ("rancher.password", "rancher.autologin")
_MAX_WORDS = 4096
# RancherOS' datasources (config/cloudinit); anything else behind a comma is the rest of a URL.
_SOURCES = (
    r"\*|url|file|tftp|cmdline|configdrive|ec2|gce|digitalocean|packet|cloudstack|exoscale|aliyun|azure|vmware|proxmox"
)


@dataclass(frozen=True)
class Word:
    """One argument. column: from 1; open: a quote or bracket in it is never closed."""

    text: str
    column: int
    open: bool

    @property
    def key(self) -> str:
        """Before the first `=`."""
        return self.text.partition("=")[0]

    @property
    def value(self) -> str:
        """After the first `=`, quotes and all."""
        return self.text.partition("=")[2]

    @property
    def quoted(self) -> bool:
        """Some part of it stands in quotes."""
        return any(map(_is_quote, self.text))

    @property
    def rancher(self) -> bool:
        """RancherOS reads it."""
        return self.text.startswith(("rancher.", "cc."))


@dataclass(frozen=True)
class KernelLine:
    """line: where it stands in its file; before and after: the words on either side of `--`, if there is one."""

    text: str
    line: int
    before: tuple[Word, ...]
    after: tuple[Word, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        """All of them."""
        return self.before + self.after


def read_kernel_line(text: str, line: int = 1, offset: int = 0) -> KernelLine:
    """offset: columns that stand before the text in its line."""
    words = tuple(_cut(text.rstrip("\n"), offset))
    dash = next((n for n, word in enumerate(words) if word.text == "--"), len(words))
    return KernelLine(text, line, words[:dash], words[dash + 1 :])


def _cut(text: str, offset: int) -> Iterator[Word]:
    """RancherOS' own splitting (config/cmdline): a quote or `[` holds until its closer, whatever stands between."""
    start, closer = None, ""
    for at, char in enumerate(text[: 64 * 1024]):
        if closer:
            closer = "" if char == closer else closer
        elif char == " ":
            if start is not None:
                yield Word(text[start:at], start + offset + 1, False)
            start = None
            continue
        elif char == "[" or _is_quote(char):
            closer = "]" if char == "[" else char
        start = at if start is None else start
    if start is not None:
        yield Word(text[start:], start + offset + 1, bool(closer))


def _is_quote(char: str) -> bool:
    return char in "\"'" or (char > "\x7f" and unicodedata.category(char) in ("Pi", "Pf"))


AFTER_DASHES = rule(
    "KL001", "kernel-line", "error", "a RancherOS argument after `--`",
    why="Linux hands what follows `--` to init. RancherOS' kernel hides it from /proc/cmdline, and the step that "
    "fetches the cloud-config reads only that: the URL is ignored, no key is installed. rancher.password and autologin "
    "are lost the same way. The vendor's own PXE page shows the line with `--`; for v1.5 it is wrong.",
    bad=_BASE + "-- rancher.cloud_init.datasources=[url:http://10.0.0.1/c]",
    good=_BASE + "rancher.cloud_init.datasources=[url:http://10.0.0.1/c]",
)  # fmt: skip
NO_BRACKETS = rule(
    "KL002", "kernel-line", "error", "a list without brackets",
    why="A bare value is a string, and a string does not convert to the list that RancherOS wants: init ends with "
    '"Failed to parse configuration".',
    bad=_BASE + "rancher.cloud_init.datasources=url:http://10.0.0.1/c",
    good=_BASE + "rancher.cloud_init.datasources=[url:http://10.0.0.1/c]",
)  # fmt: skip
COMMA = rule(
    "KL003", "kernel-line", "error", "a comma in an unquoted URL",
    why="Inside the brackets a comma starts the next item: the URL is cut there, and its rest is another source.",
    bad=_BASE + "rancher.cloud_init.datasources=[url:http://10.0.0.1/c?n=1,2]",
    good=_BASE + 'rancher.cloud_init.datasources=["url:http://10.0.0.1/c?n=1,2"]',
)  # fmt: skip
BRACKET = rule(
    "KL004", "kernel-line", "error", "a bracket in an unquoted URL",
    why="The list ends at the first `]`, so an IPv6 address ends it too early. In quotes it works, but only as the "
    "last argument: the splitting into words takes no notice of the quotes and goes wrong after it.",
    bad=_BASE + "rancher.cloud_init.datasources=[url:http://[fd00::1]/c]",
    good=_BASE + 'rancher.cloud_init.datasources=["url:http://[fd00::1]/c"]',
)  # fmt: skip
YAML_VALUE = rule(
    "KL005", "kernel-line", "error", "a value that YAML reads as a number or boolean",
    why="RancherOS parses each value as YAML: rancher.password=0123 sets the password 83, `yes` sets `true`.",
    bad=_BASE + "rancher.password=0123", good=_BASE + "rancher.password='0123'",
)  # fmt: skip
OPEN_QUOTE = rule(
    "KL006", "kernel-line", "error", "a quote that is never closed",
    why="Everything after it, all later arguments, becomes part of this one value.",
    bad=_BASE + "rancher.password=it's rancher.debug=true",
    good=_BASE + "rancher.password=\"it's\" rancher.debug=true",
)  # fmt: skip
QUOTED_KEY = rule(
    "KL007", "kernel-line", "error", "a quote before the key",
    why="RancherOS keeps the quote in the word, and a word that does not start with `rancher.` is ignored.",
    bad=_BASE + '"rancher.password=a b"', good=_BASE + 'rancher.password="a b"',
)  # fmt: skip
TOO_LONG = rule(
    "KL008", "kernel-line", "error", "a kernel line longer than 2047 bytes",
    why="Linux on x86 and arm64 keeps 2048 bytes with the closing NUL, and iPXE cuts the rest off without a word.",
    bad=_BASE + "x=" + "a" * 2040, good=_BASE + "x=" + "a" * 200,
)  # fmt: skip
TWICE = rule(
    "KL009", "kernel-line", "warning", "an argument stands twice",
    why="The last one wins. Twice is mostly two places that each thought it was theirs to add.",
    bad=_BASE + "rancher.debug=true rancher.debug=false", good=_BASE + "rancher.debug=false",
)  # fmt: skip
NO_SERIAL = rule(
    "KL010", "kernel-line", "warning", "no serial console",
    why="Without console=ttyS0,... a BMC's serial-over-LAN and the lab's console show nothing after the boot loader.",
    bad="console=tty0 rancher.debug=true", good="console=tty0 console=ttyS0,115200 rancher.debug=true",
)  # fmt: skip
NOT_ASCII = rule(
    "KL011", "kernel-line", "error", "a character that is not plain ASCII",
    why="Typographic quotes and dashes come with copied text; Linux takes them for part of the value, or worse, "
    "RancherOS takes them for quotes.",
    bad=_BASE + "rancher.password=\u201csecret\u201d", good=_BASE + 'rancher.password="secret"',
)  # fmt: skip
UNKNOWN_ARGUMENT = rule(
    "KL012", "kernel-line", "warning", "an unknown RancherOS argument",
    why="RancherOS ignores what it does not know: the machine boots, and the setting is not there.",
    bad=_BASE + "rancher.cloudinit.datasources=[url:http://10.0.0.1/c]",
    good=_BASE + "rancher.cloud_init.datasources=[url:http://10.0.0.1/c]",
)  # fmt: skip
NO_SUCH_KEY = rule(
    "KL013", "kernel-line", "error", "an interface name that the kernel line cannot say",
    why="Keys are cut at every dot and at the first `=`, so a VLAN name (eth0.100) and a mac= match are broken here; "
    "they work in the cloud-config.",
    bad=_BASE + "rancher.network.interfaces.eth0.100.dhcp=true",
    good=_BASE + "rancher.network.interfaces.eth0.dhcp=true",
)  # fmt: skip
NO_STATE_DEVICE = rule(
    "KL014", "kernel-line", "warning", "autoformat without rancher.state.dev",
    why="Formatting happens only when rancher.state.dev is set and cannot be mounted; alone it never happens.",
    bad=_BASE + "rancher.state.autoformat=[/dev/sda]",
    good=_BASE + "rancher.state.dev=LABEL=RANCHER_STATE rancher.state.autoformat=[/dev/sda]",
)  # fmt: skip
BLOCKED = rule(
    "KL015", "kernel-line", "error", "a value that hides deeper keys",
    why="After rancher.network=x the later rancher.network.dns... has nowhere to go and is dropped.",
    bad=_BASE + "rancher.ssh=on rancher.ssh.port=2222", good=_BASE + "rancher.ssh.port=2222",
)  # fmt: skip
NOCLOUD_SLASH = rule(
    "KL016", "kernel-line", "error", "a nocloud URL without a closing slash",
    why="cloud-init appends user-data and meta-data to the text as it is: without the slash it asks for `n1user-data`.",
    bad=_BASE + "autoinstall ds=nocloud;s=http://10.0.0.1/n1", good=_BASE + "autoinstall ds=nocloud;s=http://10.0.0.1/n1/",
)  # fmt: skip


@check("kernel-line")
def check_words(doc: KernelLine) -> Iterator[Finding]:
    """Each word alone."""
    for word in doc.after:
        if word.rancher:
            yield AFTER_DASHES.at(doc.line, word.column, f"{word.key} after -- is not read; put it before")
    for word in doc.words[:_MAX_WORDS]:
        if not word.text.isascii() or not word.text.isprintable():
            yield NOT_ASCII.at(doc.line, word.column, f"{word.text[:60]!r} is not plain ASCII")
        elif word.text[0] in "\"'" and word.text[1:].startswith(("rancher.", "cc.")):
            yield QUOTED_KEY.at(doc.line, word.column, "RancherOS ignores a word that starts with a quote")
        elif word.open and " " in word.text:
            yield OPEN_QUOTE.at(doc.line, word.column, f"{word.key}: a quote or bracket is never closed")
        elif word.rancher:
            yield from _rancher(doc, word)
        if re.match(r"ds=nocloud(-net)?;(s|seedfrom)=http", word.text) and not word.text.endswith("/"):
            yield NOCLOUD_SLASH.at(doc.line, word.column, "the URL must end with /")


def _rancher(doc: KernelLine, word: Word) -> Iterator[Finding]:
    path = word.key.removeprefix("cc.").split(".")
    wanted, unknown = _find_type(path)
    at = word.column + len(word.key) + 1
    if "interfaces" in path and (unknown.isdigit() or path[-1].startswith("mac")):
        yield NO_SUCH_KEY.at(
            doc.line, word.column, f"{word.key} cannot be said on the kernel line; use the cloud-config"
        )
    elif unknown and word.key not in _KERNEL_ONLY:
        near = _suggest(path, unknown)
        yield UNKNOWN_ARGUMENT.at(doc.line, word.column, f"RancherOS does not know {word.key}{near}")
    elif wanted and wanted.boot in ("strs", "commands"):
        yield from _list(doc, word, at)
    elif (wanted and wanted.boot == "str") or word.key == "rancher.password":
        yield from _string(doc, word, at)


def _string(doc: KernelLine, word: Word, at: int) -> Iterator[Finding]:
    kind = read_scalar(word.value)
    if word.quoted or not word.value or Value(kind, 1, 1, 1, 1, word.value).converted() == word.value:
        return
    fix = Edit(doc.line, at, doc.line, at + len(word.value), f"'{word.value}'")
    yield YAML_VALUE.at(doc.line, at, f"{word.key}: YAML reads {word.value} as a {kind}; quote it", fix)


def _list(doc: KernelLine, word: Word, at: int) -> Iterator[Finding]:
    value = word.value
    if not value.startswith("["):
        fix = Edit(doc.line, at, doc.line, at + len(value), f"[{value.strip(chr(34) + chr(39))}]")
        yield NO_BRACKETS.at(doc.line, at, f"{word.key} is a list: [{value[:60]}]", fix)
        return
    if word.quoted:
        return
    inner = value[1:-1]
    if "[" in inner or "]" in inner:
        yield BRACKET.at(doc.line, at, "put the URL into quotes inside the brackets, and the argument last")
    elif re.search(rf"url:[^,]*,(?!\s*(?:{_SOURCES})(?:[:,]|\s*$))", inner):
        yield COMMA.at(doc.line, at, "a comma ends the URL; put it into quotes inside the brackets")


def _find_type(path: list[str]) -> tuple[Type | None, str]:
    """The schema's type at a path, and the first part that the schema does not know."""
    wanted: Type | None = CLOUD_CONFIG
    for part in path:
        if wanted is None or (wanted.keys is None and wanted.each is None):
            return None, "" if wanted and wanted.boot in ("smap", "bmap", "map") else part
        if wanted.keys is not None and part not in wanted.keys:
            return None, part
        wanted = wanted.keys[part] if wanted.keys is not None else wanted.each
    return wanted, ""


def _suggest(path: list[str], unknown: str) -> str:
    above, _ = _find_type(path[: path.index(unknown)])
    near = difflib.get_close_matches(unknown, list((above.keys or {}) if above else {}), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


@check("kernel-line")
def check_together(doc: KernelLine) -> Iterator[Finding]:
    """The words beside each other."""
    length = len(" ".join(doc.text.split()).encode())
    if length > MAX_LENGTH:
        yield TOO_LONG.at(doc.line, 1, f"{length} bytes; Linux keeps {MAX_LENGTH}")
    seen: dict[str, Word] = {}
    for word in doc.words:
        if word.key in seen and word.key not in _REPEATABLE and word.text not in ("quiet", "splash"):
            yield TWICE.at(doc.line, word.column, f"{word.key} stands here again; the last one wins")
        seen[word.key] = word
        above = next((k for k in _parents(word.key) if k in seen), "") if word.rancher else ""
        if above:
            yield BLOCKED.at(doc.line, word.column, f"{word.key} is dropped, since {above} has a value already")
    if not any(re.match(r"console=(tty(S|AMA|USB|O|mxc)|hvc|ttyPS)", word.text) for word in doc.before):
        yield NO_SERIAL.at(doc.line, 1, "no console=ttyS0,... : a BMC's serial-over-LAN shows nothing")
    if "rancher.state.autoformat" in seen and "rancher.state.dev" not in seen:
        yield NO_STATE_DEVICE.at(doc.line, seen["rancher.state.autoformat"].column, "add rancher.state.dev=...")


def _parents(key: str) -> Iterator[str]:
    parts = key.split(".")
    yield from (".".join(parts[:n]) for n in range(2, len(parts)))
