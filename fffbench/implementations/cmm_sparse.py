"""Naive CMM through torch's sparse matrices: sampled logits in CSR, level by level, then activations (CSR) times W2.

The published idea without its mistake: there the rows and columns of the sparse activations were paired wrongly, so
that a token of a batch got another's neurons. Here a level is a CSR matrix with one place a token and tree, whose
logits a sampled product fills in, and the activations are one with a place for every visited neuron.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from fffbench.implementations.registry import Layer, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "cmm"
DEVICES = ("cpu", "cuda")
DTYPES = ("fp32",)  # torch's sampled product knows no 16-bit floats


def unsupported(workload: Workload) -> str | None:
    """Tree form only; on a CPU the sampled product is MKL's, which not every torch has."""
    if workload.shape.leaf_width:
        return "cmm_sparse computes the tree form, not leaf blocks"
    if workload.batch == 0:
        return "torch's sparse products refuse an empty batch"
    if workload.place.host_memory:
        import torch

        if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
            return "this torch was built without MKL, whose sampled sparse product cmm_sparse needs on a CPU"
    return None


def prepare(weights: Weights, workload: Workload) -> Layer:
    """Lay out the row pointers, which depend on the batch alone."""
    import torch

    shape, batch = workload.shape, workload.batch
    w1_t, w2 = weights.w1.t(), weights.w2
    indices = torch.int32  # MKL's and cuSPARSE's own width
    roots = torch.arange(shape.trees, dtype=indices, device=w2.device) * (2**shape.levels - 1)
    level_starts = torch.arange(batch + 1, dtype=indices, device=w2.device) * shape.trees
    starts = level_starts * shape.levels

    def sparse(where: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        size = (batch, shape.n)
        return torch.sparse_csr_tensor(where, columns.flatten(), values, size=size, check_invariants=False)

    def forward(x: torch.Tensor) -> torch.Tensor:
        zeros = x.new_zeros(batch * shape.trees)
        node = torch.zeros((batch, shape.trees), dtype=indices, device=x.device)
        rows, logits = [], []
        for _ in range(shape.levels):
            row = roots + node
            sampled = torch.sparse.sampled_addmm(sparse(level_starts, row, zeros), x, w1_t, beta=0.0)
            logit = sampled.values().view(batch, shape.trees)
            rows.append(row)
            logits.append(logit)
            node = 2 * node + 1 + (logit > 0)
        # CSR wants the columns of a row in order: trees first, levels within a tree
        columns, values = torch.stack(rows, dim=2), torch.stack(logits, dim=2)
        activations = sparse(starts, columns, torch.nn.functional.gelu(values).flatten())
        return torch.mm(activations, w2)

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        return lambda: y.copy_(forward(x))

    with warnings.catch_warnings():  # torch says once in a process that CSR is in beta
        warnings.simplefilter("ignore")
        sparse(level_starts, roots.expand(batch, -1), w2.new_zeros(batch * shape.trees))
    return Layer(forward, bind)
