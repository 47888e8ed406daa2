"""Has a kernel become slower? Each optimised implementation at three batches, and a dense layer that must not move."""

from __future__ import annotations

from fffbench.implementations.registry import implementation
from fffbench.measure import cellrun, inputs
from fffbench.plan import routing
from fffbench.plan.workload import Cell, Protocol, Shape, Workload

SHAPE = Shape.tree(768, 1, 12)
BATCHES = [1, 128, 16384]
CONTROL_BATCHES = [1, 128]  # 16384 would take a second a call on two cores


class _Passes:
    """Times a pass of one implementation over its pool: at least as many tokens as leaves, weights warm."""

    timeout = 300
    sample_time = 0.1
    repeat = (3, 8, 2.0)
    rounds = 3
    warmup_time = 0.2

    def setup(self, name, batch):
        device = "cuda" if name in ("fff_cuda", "fff_triton") else "cpu"
        workload = Workload(SHAPE, batch, threads=1, device=device)
        try:
            chosen = implementation(name)
        except Exception as error:  # a commit from before this implementation
            raise NotImplementedError(str(error)) from error
        reason = chosen.unsupported(workload)
        if reason is not None:
            raise NotImplementedError(reason)  # asv's way to say "skipped here"
        cell = Cell(name, workload, Protocol("warm"))
        cellrun.set_threads(1)
        self.pool = inputs.make_pool(cell, routing.make(workload, cellrun.data_tokens(cell)))
        layer = chosen.prepare(self.pool.weights, workload)
        self.calls = [layer.bind(x, y) for x, y in zip(self.pool.x, self.pool.y, strict=True)]
        self.wait = _nothing
        if device == "cuda":
            import torch

            self.wait = torch.cuda.synchronize
        self.time_pass(name, batch)

    def time_pass(self, _name, _batch):
        for call in self.calls:
            call()
        self.wait()


def _nothing():
    """Nothing to wait for on a CPU."""


class Optimised(_Passes):
    """The kernels that are ours."""

    params = (["fff_cpu", "fff_cuda", "fff_triton"], BATCHES)
    param_names = ("implementation", "batch")

    def peakmem_pass(self, _name, _batch):
        for call in self.calls:
            call()
        self.wait()


class Control(_Passes):
    """Dense layers of libraries we do not change: where they move, the machine moved."""

    params = (["dense_padded", "dense_blas3"], CONTROL_BATCHES)
    param_names = ("implementation", "batch")
