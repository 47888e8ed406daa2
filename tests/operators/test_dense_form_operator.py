"""Does a call of the operator take the plan that ``fff_cpu`` takes, with weights that are those of the moment?"""

from __future__ import annotations

import gc

import pytest

import fffbench
from fffbench.implementations import fff_cpu

torch = pytest.importorskip("torch")
_cpu = pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
cpu_layers = pytest.importorskip("fffbench.operators.cpu_layers")
library = pytest.importorskip("fffbench.operators.library")


def layer(trees, levels, batch=40, d=48, dtype=torch.float32):
    n, draw = trees * (2**levels - 1), torch.Generator().manual_seed(0)
    return [torch.randn(rows, d, generator=draw).to(dtype) / d**0.25 for rows in (batch, n, n)]


def expected(x, w1, w2, trees, b2=0):
    return library.tree(x.double(), w1.double(), w2.double(), None, None, trees) + b2


@pytest.mark.parametrize(("trees", "levels", "batch"), [(70, 1, 40), (20, 3, 600), (9, 4, 40), (20, 3, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shallow_trees_take_the_dense_form_where_fff_cpu_does(trees, levels, batch, dtype, monkeypatch):
    name = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
    x, w1, w2 = layer(trees, levels, batch, dtype=dtype)
    taken = []
    for what in ("_packed", "by_product"):
        module = cpu_layers if what == "_packed" else fff_cpu
        before = getattr(module, what)
        monkeypatch.setattr(module, what, lambda *a, before=before: (taken.append(1), before(*a))[1])
    y = fffbench.fff(x, w1, w2, trees=trees)
    assert bool(taken) == fff_cpu.takes_dense_form(levels, batch, name)
    close = {"fp32": 2e-5, "bf16": 2e-2}[name]
    want = expected(x, w1, w2, trees)
    torch.testing.assert_close(y.double(), want, rtol=close, atol=close * want.abs().max().item())


def test_a_bias_on_the_output_is_added_and_one_on_the_logits_takes_another_plan():
    x, w1, w2 = layer(20, 2)
    b1, b2 = torch.randn(len(w1)), torch.randn(48)
    close = {"rtol": 2e-5, "atol": 2e-5}
    torch.testing.assert_close(
        fffbench.fff(x, w1, w2, trees=20, b2=b2).double(), expected(x, w1, w2, 20, b2.double()), **close
    )
    wide = [t.double() for t in (x, w1, w2, b1, b2)]
    torch.testing.assert_close(
        fffbench.fff(x, w1, w2, b1=b1, b2=b2, trees=20).double(), library.tree(*wide, 20), **close
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("write", ["in place", "through .data", "through numpy", "elsewhere"])
def test_weights_that_were_written_to_are_the_weights_used(write, dtype):
    x, w1, w2 = layer(20, 2, dtype=dtype)
    fffbench.fff(x, w1, w2, trees=20)
    if write == "in place":
        w1[7, 3] += 5
    elif write == "through .data":
        w1.data.mul_(-1)
    elif write == "through numpy":
        w1.view(torch.int16 if dtype is torch.bfloat16 else torch.int32).numpy()[:] = 0
    else:
        w1.data = w1.flip(0)
    assert torch.equal(fffbench.fff(x, w1, w2, trees=20), fffbench.fff(x, w1.clone(), w2.clone(), trees=20))


def test_all_batches_share_one_packed_copy_that_goes_with_the_weights():
    x, w1, w2 = layer(20, 2, batch=64)
    gc.collect()
    before = len(cpu_layers._kept)
    for batch in (17, 40, 64):
        for threads in (1, 2):
            fffbench.fff(x[:batch], w1, w2, trees=20, threads=threads)
    assert len(cpu_layers._kept) == before + 1
    del w1
    gc.collect()
    assert len(cpu_layers._kept) == before


def test_weights_made_in_inference_mode_are_never_packed():
    with torch.inference_mode():
        x, w1, w2 = layer(20, 2)
        before = fffbench.fff(x, w1, w2, trees=20)
        w1[7, 3] += 5
        assert not torch.equal(before, fffbench.fff(x, w1, w2, trees=20))
        assert (id(w1), id(w2), 2) not in cpu_layers._kept
