"""Core. What a model refuses, as `file:line:column` and a sentence that says what to write instead."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

_MUST_BE = {
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a map of keys, like {key: value}",
    "model_type": "must be a map of keys, like {key: value}",
    "model_attributes_type": "must be a map of keys, like {key: value}",
    "list_type": "must be a list, like [one, two]",
    "tuple_type": "must be a list, like [one, two]",
}


def describe_fault(model: type[BaseModel], tree: Any, error: Any, name: str) -> tuple[str, str]:
    """Place and sentence of one of pydantic's errors; tree: what ruamel read, with its marks; name: the file's."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    shown = ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        message = f"unknown key {path[-1]!r}{suggest_key(model, path)}"
    elif error["type"] == "missing":
        message = f"{shown} is missing"
    else:
        text = _MUST_BE.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
        text = text.replace("Input should be", "must be").replace("\n  -> ", "; ")
        message = f"{shown}: {text}" if path else text
    return place(tree, path, name), message


def suggest_key(model: type[BaseModel], path: Sequence[Any]) -> str:
    """The nearest key that is known where `path` ends, or all that are."""
    known = sorted({key for one in models_at(model, path[:-1]) for key in _keys(one)})
    near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known here: {', '.join(known)}" if known else ""


def models_at(model: type[BaseModel], path: Sequence[Any]) -> list[type[BaseModel]]:
    """The models that a value at this path of the file may have, through maps, lists and unions."""
    found: list[Any] = [model]
    for part in path:
        found = [inner for one in found for inner in _inside(one, part)]
    return [one for one in found if _is_model(one)]


def place(tree: Any, path: Sequence[Any], name: str) -> str:
    """`file:line:column`, both from 1, of the deepest part of path that the file has."""
    line, column = 1, 1
    for part in path:
        marks = getattr(tree, "lc", None)
        if marks is None:
            break
        try:
            found = marks.item(part) if isinstance(tree, list) else marks.key(part)
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
        line, column = found[0] + 1, found[1] + 1
    return f"{name}:{line}:{column}"


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or key for key, field in model.model_fields.items()]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, part: Any) -> list[Any]:
    """The types that a value of this type can have under the key or index `part`."""
    if _is_model(kind):
        for key, field in kind.model_fields.items():
            if part in (key, field.alias):
                return _branches(field.annotation)
        # pydantic puts the name of the chosen branch of a union into the path.
        return [kind]
    arguments = typing.get_args(kind)
    return _branches(arguments[-1] if arguments[-1] is not ... else arguments[0]) if arguments else []


def _branches(kind: Any) -> list[Any]:
    """The alternatives of a union, without Annotated and None."""
    if typing.get_origin(kind) is typing.Annotated:
        return _branches(typing.get_args(kind)[0])
    if typing.get_origin(kind) is typing.Union or type(kind).__name__ == "UnionType":
        return [inner for one in typing.get_args(kind) for inner in _branches(one)]
    return [] if kind is type(None) else [kind]
