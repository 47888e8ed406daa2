"""Is a CUDA call that is cut short without consequence for the next, and does every count fit its type?"""

from __future__ import annotations

import pytest

from fffbench.implementations.cuda import leaf_plan
from fffbench.implementations.cuda.base import Gpu, Layout
from fffbench.implementations.cuda.plan import STRATEGIES


def test_a_call_that_is_cut_short_leaves_no_tokens_counted() -> None:
    torch = pytest.importorskip("torch")
    from fffbench.implementations.cuda.launch import Program

    counts = torch.zeros(4, dtype=torch.int32)
    program = object.__new__(Program)
    program.workspace, program._device, program._stream_of = {"counts": counts}, 0, lambda _: 0

    def out_of_memory(stream: int) -> None:
        raise torch.OutOfMemoryError

    program._starts = (lambda _: counts.add_(1), out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        program._run()
    assert counts.tolist() == [0, 0, 0, 0]


GPT3 = [
    (12288, 1, 16, 0),
    (12288, 1, 12, 0),
    (12288, 1, 7, 512),
    (12288, 1, 15, 1),
    (4096, 1, 24, 0),
    (768, 3072, 1, 0),
]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", GPT3, ids=str)
def test_lists_and_counters_hold_every_token_of_the_widest_layers(shape: tuple[int, int, int, int], dtype: str) -> None:
    d, trees, levels, width = shape
    layout = Layout(d, trees, levels, dtype, leaf_width=width)
    for make in (leaf_plan.STRATEGIES if width else STRATEGIES).values():
        for batch in (1, 4095, 4096, 65536, 2**20):
            plan = make(layout, Gpu(), batch)
            for step in plan.launches if plan else ():
                integers = [a for a in step.arguments if isinstance(a, int)]
                assert all(0 <= a < 2**31 for a in (*integers, step.grid))
                lists = 1 << max(step.macros.get("FFF_TOP", 0), step.macros.get("FFF_ABOVE", 0))
                used = {a for a in step.arguments if isinstance(a, str)}
                if "lists" in used and lists > 1:  # a list for each subtree, as long as all tokens
                    assert plan.workspace["lists"] >= 4 * batch * lists
                    assert plan.workspace["counts"] >= 4 * (lists + 1)
                if "leaf" in used:
                    assert plan.workspace["leaf"] >= 4 * batch * trees
                if "visits" in used:
                    assert plan.workspace["visits"] >= 8 * batch * trees * (width or levels)
