"""Does every CUDA source compile for the oldest and the newest architecture that is claimed, without a GPU?"""

from __future__ import annotations

from pathlib import Path

import pytest

from fffbench.implementations.cuda import build
from fffbench.implementations.cuda.base import Step
from tools.cuda import compile_all

COMPILER = build.missing()
ELSEWHERE = ("sm_80", "sm_100")  # the ends; sm_90 is what the other tests compile for


def one_of_each() -> list[Step]:
    """A kernel of every source, in 16-bit storage where it has that."""
    found: dict[str, Step] = {}
    for step in compile_all.steps():
        if step.source not in found or step.macros["FFF_DTYPE"] > found[step.source].macros["FFF_DTYPE"]:
            found[step.source] = step
    return list(found.values())


def test_no_source_is_left_out() -> None:
    assert {step.source for step in one_of_each()} == {path.name for path in build.SOURCES.glob("*.cu")}


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
@pytest.mark.parametrize("step", one_of_each(), ids=lambda step: step.source)
def test_a_source_compiles_at_both_ends_or_for_the_one_architecture_that_it_is_for(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    for arch in (f"{compile_all.ONLY_90}a",) if step.only_90 else ELSEWHERE:
        assert build.cubin(step.source, step.macros, arch)


@pytest.mark.skipif(COMPILER is not None, reason=str(COMPILER))
def test_what_is_for_one_architecture_alone_fails_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFFBENCH_CACHE", str(tmp_path))
    alone = [step for step in one_of_each() if step.only_90]
    assert {step.source for step in alone} == {"dense_form.cu", "leaf_hidden.cu", "leaf_output.cu"}
    with pytest.raises(build.BuildError, match="does not compile for sm_80"):
        build.cubin(alone[0].source, alone[0].macros, "sm_80")
