"""Core. What is wrong with a script before it is embedded: iPXE would show it on a screen that nobody watches."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator

from rackctl.core.ipxe.features import COMMANDS
from rackctl.errors import ConfigError

# An embedded image is loaded with the binary, and undionly.kpxe has low memory for 512 kB in all.
MOST_BYTES = 64 * 1024
_JOINT = re.compile(r"\s(?:&&|\|\|)(?=\s|$)")


def check_script(raw: bytes, name: str, built: Collection[str]) -> str:
    """The script's text. built: the commands that every binary with this script in it has.

    Raises ConfigError with `name:line` of each fault.
    """
    if len(raw) > MOST_BYTES:
        raise _fault(name, 1, f"{len(raw)} bytes; a script may have {MOST_BYTES}", "chain the rest from a server")
    try:
        text = raw.decode()
    except UnicodeDecodeError as wrong:
        line = raw[: wrong.start].count(b"\n") + 1
        raise _fault(name, line, "not plain UTF-8 text", "save it as UTF-8") from wrong
    if "\r" in text:
        line = text[: text.index("\r")].count("\n") + 1
        message = "ends in CR LF, which iPXE takes for a part of the command"
        raise _fault(name, line, message, f"sed -i 's/\\r$//' {name}")
    if text.split("\n", 1)[0].rstrip() != "#!ipxe":
        raise _fault(name, 1, "the first line is not #!ipxe", "write #!ipxe there: iPXE knows a script by it")
    if "\0" in text:
        raise _fault(name, text[: text.index("\0")].count("\n") + 1, "has a zero byte in it", "save it as plain text")
    unknown = [(line, word) for line, word in commands_of(text) if word not in built]
    if unknown:
        lines = [f"{name}:{line}: {_describe(word, built)}" for line, word in unknown]
        raise ConfigError(
            "\n".join([lines[0].partition(": ")[2], *lines[1:]]),
            f"{name}:{unknown[0][0]}",
            "mend the script, or turn the command on: ipxe: {commands: {NAME: true}}",
        )
    return text


def commands_of(text: str) -> Iterator[tuple[int, str]]:
    """Line, from 1, and name of every command; what a variable stands for is not known before the boot."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith(("#", ":")):
            continue
        for part in _JOINT.split(" " + line):
            words = part.split()
            if words and "${" not in words[0]:
                yield number, words[0]


def _describe(word: str, built: Collection[str]) -> str:
    feature = next((name for name, one in COMMANDS.items() if word in one.commands), None)
    if feature:
        return f"the command {word} is not built in; it comes with ipxe: {{commands: {{{feature}: true}}}}"
    near = difflib.get_close_matches(word, built, n=1, cutoff=0.6)
    return f"unknown command {word!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _fault(name: str, line: int, message: str, remedy: str) -> ConfigError:
    return ConfigError(message, f"{name}:{line}", remedy)
