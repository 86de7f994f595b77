"""Core. What RancherOS reads from the kernel line and not, or too late, from a fetched file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from rackctl.core.yamldoc import Value, read_scalar, to_plain
from rackctl.errors import ConfigError

_EARLY = (("rancher", "state"), ("rancher", "password"), ("rancher", "autologin"), ("bootcmd",))
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+*?~-]+")
_QUOTING_SINCE = (1, 5, 5)  # earlier versions cut the line at every space, in quotes or not


def move_early(config: Value, version: str, may_wipe: bool) -> tuple[Value, tuple[str, ...]]:
    """The config without what comes too late in a file, and that as kernel arguments.

    rancher.state.autoformat is left out altogether unless may_wipe. Raises ConfigError for what no argument can say.
    """
    words: list[str] = []
    for path in _EARLY:
        found = config.get(*path)
        if found is None:
            continue
        key = "cc.bootcmd" if path == ("bootcmd",) else ".".join(path)
        where = f"{found.file}:{found.line}"
        for name, value in _flatten(key, to_plain(found)):
            if name != "rancher.state.autoformat" or may_wipe:
                words.append(f"{name}={kernel_value(value, where, version)}")
        config = without(config, *path)
    return config, tuple(words)


def without(value: Value, *path: str) -> Value:
    """The value without what is at a path; a map that becomes empty goes too."""
    kept = []
    for key, below in value.entries:
        if key.text == path[0]:
            if len(path) == 1:
                continue
            below = without(below, *path[1:])
            if not below.entries and not below.items and not below.text:
                continue
        kept.append((key, below))
    return replace(value, entries=kept)


def _flatten(key: str, data: Any) -> list[tuple[str, Any]]:
    if isinstance(data, dict):
        return [pair for name, value in data.items() for pair in _flatten(f"{key}.{name}", value)]
    return [(key, data)]


def kernel_value(data: Any, where: str, version: str) -> str:
    """Data as RancherOS' kernel line parser reads it back. Raises ConfigError when it cannot."""
    if isinstance(data, bool):
        return "true" if data else "false"
    if isinstance(data, (list, tuple)):
        text = "[" + ",".join(_item(item, where) for item in data) + "]"
    elif isinstance(data, (int, float)):
        text = str(data)
    else:
        text = _scalar(str(data), where)
    if " " in text and _old(version):
        raise ConfigError(
            f"RancherOS {version} cuts the kernel line at every blank", where, "use v1.5.5 or later, or no blank in it"
        )
    return text


def _scalar(text: str, where: str) -> str:
    _refuse(text, where, "\n${")
    if _PLAIN.fullmatch(text) and read_scalar(text) == "str":
        return text
    for quote in "'\"":
        if quote not in text and "\\" not in text:
            return quote + text + quote
    raise ConfigError(
        "the kernel line cannot say a value with both kinds of quotes or a backslash", where, "choose another value"
    )


def _item(data: Any, where: str) -> str:
    if isinstance(data, (list, tuple)):
        # The outer bracket ends at the first inner one: no list fits into a list there.
        return _item(" ".join(str(word) for word in data), where)
    text = str(data)
    _refuse(text, where, "\n]${\\")
    if _PLAIN.fullmatch(text) and read_scalar(text) == "str" and "?" not in text:
        return text
    quote = '"' if '"' not in text else "'"
    if quote in text:
        raise ConfigError("the kernel line cannot say a value with both kinds of quotes", where, "put it into a script")
    return quote + text + quote


def _refuse(text: str, where: str, signs: str) -> None:
    # What is refused may be a password: the message names its place, not the text.
    found = next((sign for sign in (signs if "${" not in signs else signs.replace("${", "")) if sign in text), "")
    found = found or ("${" if "${" in signs and "${" in text else "")
    if found or not text.isascii() or re.search(r"\s(&&|\|\|)(\s|$)|  ", text):
        shown = repr(found) if found else "a character, a double blank or a word"
        raise ConfigError(f"the kernel line cannot say {shown} of this value", where, "put it into a script file")


def _old(version: str) -> bool:
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return bool(numbers) and tuple(map(int, numbers.groups())) < _QUOTING_SINCE if numbers else False
