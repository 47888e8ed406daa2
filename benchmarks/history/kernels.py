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
    """Times a pass of one implementation over a pool of batches, weights warm; ``most_calls`` bounds the pool."""

    timeout = 120
    number = 1
    repeat = (3, 10, 0.5)
    rounds = 2
    warmup_time = 0.1
    most_calls = 2048

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
        self.calls = [layer.bind(x, y) for x, y in zip(self.pool.x, self.pool.y, strict=True)][: self.most_calls]
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

    params = (["dense_linear", "dense_padded"], CONTROL_BATCHES)
    most_calls = 16  # a call reads 25 MB of weights, so a short pass is long enough to time
    param_names = ("implementation", "batch")
