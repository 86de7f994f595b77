import os
from pathlib import Path

import pytest

from rackctl.core.lint import text  # noqa: F401 registers the rules
from rackctl.core.lint.report import render_docs

PAGE = Path(__file__).parents[3] / "docs" / "lint.md"


def test_docs_lint_md_is_what_the_rules_say() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(render_docs())
        pytest.fail("docs/lint.md was written; read the difference, then run without UPDATE_GOLDEN")
    assert PAGE.read_text() == render_docs()
