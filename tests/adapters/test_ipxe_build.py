"""How iPXE's builds are put together, and what is told of one that fails."""

import pytest

from rackctl.adapters.imagebuild import BuildError
from rackctl.adapters.ipxe import _explain, _jobs
from rackctl.core.ipxe.recipe import Recipe
from rackctl.core.targets import DEFAULT_TARGETS
from rackctl.errors import EngineError


def test_a_patch_for_one_target_stands_on_the_layers_of_all() -> None:
    recipe = Recipe(patches={"undionly.kpxe": {"a.patch": b"x"}})
    own, others = _jobs(recipe, DEFAULT_TARGETS)
    assert own.usual == others.usual == DEFAULT_TARGETS, "what is compiled first is the same layer"
    assert own.changed == ("undionly.kpxe",) and not others.options
    assert set(own.targets) | set(others.targets) == set(DEFAULT_TARGETS)


def test_options_for_all_are_compiled_for_all_at_once() -> None:
    (job,) = _jobs(Recipe(headers={"general.h": "x"}), ["snponly.efi"])
    assert set(job.changed) == set(DEFAULT_TARGETS) and job.targets == ("snponly.efi",)
    (job,) = _jobs(Recipe(headers={"general.h": "x"}), ["ipxe.pxe"])
    assert set(job.changed) == {*DEFAULT_TARGETS, "ipxe.lkrn", "ipxe.pxe"}


@pytest.mark.parametrize(
    ("line", "where", "says"),
    [
        (
            "#14 9.8 core/main.c:36:52: error: 'x' undeclared",
            "iPXE's src/core/main.c:36",
            "does not compile: 'x' undec",
        ),
        ("#14 9.8 net/a/b.S:7: fatal error: no.h: No such file", "iPXE's src/net/a/b.S:7", "No such file"),
        ("#14 1.0 the patch 1-mine.patch does not apply", "rack.yml: ipxe.patches", "mine.patch does not apply"),
    ],
)
def test_the_line_of_a_fault_is_found_among_all_others(line: str, where: str, says: str) -> None:
    log = ["#14 9.7   [BUILD] bin/main.o", line, *["#14 9.9   [BUILD] bin/other.o"] * 3000]
    found = _explain(BuildError(EngineError("docker buildx build failed (1)"), log), patched=True)
    assert found and found.where == where and says in found.message and "ipxe.patches" in str(found)


def test_a_build_that_fails_otherwise_is_told_as_it_is() -> None:
    assert _explain(BuildError(EngineError("no network"), ["#5 1.2 E: Unable to locate package gcc"]), False) is None
