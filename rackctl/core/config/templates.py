"""Core. The Jinja2 environment of config templates: they see data, call no method of ours, and come to an end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

_MOST_STEPS = 1_000_000  # rounds of loops and calls in one rendering
_MOST_SIZE = 1024 * 1024  # characters, items or digits that one operator may make


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        self.left = _MOST_STEPS
        self.filters["rackctl_count"] = self._count

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, "rackctl_count", [], [], None, None, lineno=loop.lineno)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # pydantic's models carry parse_file and parse_raw, which read any file and unpickle.
        if isinstance(obj, BaseModel):
            return attr in type(obj).model_fields
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        __self._step()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            size = max((len(one) for one in (left, right) if isinstance(one, (str, list, tuple))), default=0)
            times = next((one for one in (left, right) if isinstance(one, int)), 0)
            too_much = size * times > _MOST_SIZE
        else:
            whole = isinstance(left, int) and isinstance(right, int)
            too_much = whole and left.bit_length() * right > _MOST_SIZE
        if too_much:
            raise SecurityError(f"{operator} makes more than {_MOST_SIZE} characters, items or digits")
        return super().call_binop(context, operator, left, right)

    def _count(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._step()
            yield item

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise SecurityError(f"more than {_MOST_STEPS} rounds of loops and calls: does it end?")


_ENVIRONMENT = _Environment()


def read_template(text: str) -> Template:
    """Raises jinja2.TemplateSyntaxError."""
    return _ENVIRONMENT.from_string(text)


def fill_template(template: Template, values: dict[str, Any]) -> str:
    """The text. Raises jinja2.TemplateError, and what an expression of the template raises."""
    _ENVIRONMENT.left = _MOST_STEPS
    return template.render(values)
