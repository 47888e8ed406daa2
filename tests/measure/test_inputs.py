"""Where do the tensors of a measurement lie, and are writes around an output seen?"""

import pytest
import torch

from fffbench.devices.cpu import HUGE_PAGE
from fffbench.measure import inputs
from fffbench.plan.workload import Shape, Workload

LARGE = Workload(Shape.tree(64, 1, 13), 16384)  # 2 MiB of each matrix, 4 of x


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_large_tensors_on_a_cpu_begin_on_a_huge_page_and_hold_what_was_drawn(dtype):
    workload = Workload(LARGE.shape, LARGE.batch, dtype)
    data = workload.draw(workload.batch)
    weights = inputs.make_weights(workload, data)
    for tensor, drawn in ((weights.w1, data.w1), (weights.w2, data.w2)):
        assert tensor.numel() * tensor.element_size() < HUGE_PAGE or tensor.data_ptr() % HUGE_PAGE == 0
        assert torch.equal(tensor, torch.from_numpy(drawn).to(tensor.dtype))
    x = torch.empty(2 * HUGE_PAGE // 64, 64, dtype=inputs.torch_dtype(dtype))
    whole = inputs.guarded_output(x, len(x))
    assert (whole.data_ptr() - inputs.GUARD_ROWS * 64 * x.element_size()) % HUGE_PAGE == 0


@pytest.mark.parametrize("rows", [0, 1, 3 * HUGE_PAGE // 64 // 4])
@pytest.mark.parametrize("where", ["before", "after"])
def test_a_write_just_outside_an_output_is_seen(rows, where):
    y = inputs.guarded_output(torch.empty(1, 64), rows)
    y.fill_(1.0)
    assert inputs.guards_intact(y)
    offset = y.storage_offset() - 1 if where == "before" else y.storage_offset() + y.numel()
    y.as_strided((1,), (1,), offset)[0] = 1.0
    assert not inputs.guards_intact(y)
