"""Which rows does a token visit, and what are the gradients through them?"""

from __future__ import annotations

import torch
from torch import Tensor

from fffbench.operators import forks, formula, geometry, kernels


def path(x: Tensor, w1: Tensor, b1: Tensor | None = None, trees: int = 1, threads: int = 0) -> Tensor:
    """``fffbench::tree_path`` on any device."""
    x, w1, b1 = kernels.plain(x, w1, b1)
    levels, _ = kernels.checked("tree", x, w1, w1, b1, None, trees, "gelu")
    dtype = kernels.KERNEL_DTYPES.get(x.dtype)
    with forks.alone() as count:
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        if dtype is None or not x.is_cpu or not kernels.built():
            rows = formula.tree_rows(flat, w1, b1, trees, levels).int()
        else:
            from fffbench import _cpu

            rows = torch.empty((flat.shape[0], trees * levels), dtype=torch.int32)
            tokens, d = flat.shape
            places, bias = (flat.data_ptr(), w1.data_ptr()), 0 if b1 is None else b1.data_ptr()
            _cpu.path(*places, tokens, d, trees, levels, threads or count, "auto", dtype, rows.data_ptr(), bias)
    return rows.reshape(*x.shape[:-1], trees * levels)


def path_meta(x: Tensor, w1: Tensor, b1: Tensor | None = None, trees: int = 1, threads: int = 0) -> Tensor:
    """The shape of ``path``."""
    del b1, threads
    geometry.check_tree_shapes(x.shape, w1.shape, w1.shape)
    return x.new_empty((*x.shape[:-1], trees * geometry.tree_levels(int(w1.shape[0]), trees)), dtype=torch.int32)


def backward(
    gradient: Tensor,
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    trees: int,
    activation: str,
    weights: bool,  # noqa: FBT001 - operators of torch have positional arguments
    leaf: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients by x, w1, w2, b1 and b2; the last four are of no use without ``weights``."""
    with forks.alone():
        flat, leaves = x.reshape(-1, x.shape[-1]), None
        if leaf:
            levels, width = geometry.leaf_geometry(w1.shape[0], w2.shape[0], trees)
            leaves = formula.leaf_leaves(flat, w1, b1, trees, levels)
            rows = formula.leaf_rows(leaves, width)
        else:
            rows = path(flat, w1, b1, trees).long()
        flat_gradient = gradient.reshape(flat.shape)
        dx, dw1, dw2, db1 = formula.visited_backward(flat_gradient, flat, w1, w2, b1, rows, activation, weights=weights)
        db2 = formula.start_backward(flat_gradient, b2, leaves) if weights and b2 is not None else x.new_empty(0)
    return dx.reshape(x.shape), dw1, dw2, db1, db2


def backward_meta(
    gradient: Tensor,
    x: Tensor,
    w1: Tensor,
    w2: Tensor,
    b1: Tensor | None,
    b2: Tensor | None,
    trees: int,
    activation: str,
    weights: bool,  # noqa: FBT001
    leaf: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Shapes of ``backward``."""
    del gradient, b1, trees, activation, leaf
    shapes = (w1.shape, w2.shape, w1.shape[:1], (0,) if b2 is None else b2.shape) if weights else ((0,),) * 4
    return x.new_empty(x.shape), *(w1.new_empty(shape) for shape in shapes)  # type: ignore[return-value]
