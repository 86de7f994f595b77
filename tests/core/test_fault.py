"""Every section of rack.yml, whoever adds it, suggests the nearest key for a misspelt one."""

from collections.abc import Iterator
from typing import Any

import pytest

from rackctl.core.fault import models_at, suggest_key
from rackctl.core.model import Rack

Path = tuple[Any, ...]


def sections(path: Path = ()) -> Iterator[Path]:
    """The path of every model within Rack; `one` and 0 stand for a name in a map and an index in a list."""
    if len(path) > 8:
        return
    if found := models_at(Rack, path):
        yield path
    for key in {key for model in found for key in model.model_fields}:
        for inner in ((*path, key), (*path, key, "one"), (*path, key, 0)):
            if models_at(Rack, inner):
                yield from sections(inner)
                break


FOUND = sorted(sections(), key=str)


def test_the_sections_are_found() -> None:
    assert {(), ("server",), ("os",), ("mac",), ("dhcp",), ("nodes", "one"), ("nodes", "one", "os")} <= set(FOUND)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: ".".join(map(str, path)) or "top")
def test_a_misspelt_key_is_answered_with_the_nearest(path: Path) -> None:
    for model in models_at(Rack, path):
        for key in model.model_fields:
            assert suggest_key(Rack, (*path, key + "z")) == f"; did you mean {key!r}?"
    assert "known here: " in suggest_key(Rack, (*path, "0000000000"))
