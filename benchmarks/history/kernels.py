"""Has a kernel become slower? Each optimised implementation at three batches, and a dense layer that must not move."""

from __future__ import annotations

import ast
from pathlib import Path

BATCHES = [1, 128, 16384]
CONTROL_BATCHES = [1, 128]  # 16384 would take a second a call on two cores
NVIDIA = Path("/dev/nvidiactl")  # looking here skips a CUDA kernel without importing torch, 9 times a commit


IMPLEMENTATIONS = Path(__file__).parents[2] / "fffbench" / "implementations"


def registered(family):
    """The modules of ``family`` in this tree, by name, with their devices.

    Read and not imported: asv measures a parameter of another commit by its place in the list, so the list must be this
    tree's whatever commit is installed.
    """
    found = {}
    for path in sorted(IMPLEMENTATIONS.glob("[a-z]*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        named = {target: value for node in body for target, value in _assigned(node)}
        if named.get("FAMILY") == family:
            found[path.stem] = named["DEVICES"]
    return found


def _assigned(node):
    """The names that a statement of a module gives a literal, one by one where it gives several."""
    if not isinstance(node, ast.Assign):
        return
    targets, values = [node.targets[0]], [node.value]
    if isinstance(targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
        targets, values = targets[0].elts, node.value.elts
    for target, value in zip(targets, values, strict=True):
        try:
            yield getattr(target, "id", ""), ast.literal_eval(value)
        except ValueError:
            continue


OPTIMISED = registered("fff")


class _Passes:
    """Times a pass of one implementation over a pool of batches, weights warm; ``most_calls`` bounds the pool."""

    timeout = 120
    number = 1
    repeat = (10, 60, 1.0)  # asv's 99 % interval is finite from 8 samples on
    rounds = 2
    warmup_time = 0.1
    most_calls = 2048
    ready = None

    def setup(self, name, batch):
        if self.ready == (name, batch):
            return  # asv calls this before every sample: drawing the data anew took ten times as long as the pass
        device = OPTIMISED.get(name, ("cpu",))[0]
        if device == "cuda" and not NVIDIA.exists():
            raise NotImplementedError("no NVIDIA device here")  # asv's way to say "skipped here"
        import torch
        from threadpoolctl import threadpool_limits

        from fffbench.implementations.registry import implementation
        from fffbench.measure import cellrun, inputs
        from fffbench.plan.workload import Cell, Protocol, Shape, Workload

        workload = Workload(Shape.tree(768, 1, 12), batch, threads=1, device=device)
        try:
            chosen = implementation(name)
        except Exception as error:  # a commit from before this implementation
            raise NotImplementedError(str(error)) from error
        reason = chosen.unsupported(workload)
        if reason is not None:
            raise NotImplementedError(reason)
        cell = Cell(name, workload, Protocol("warm"))
        torch.set_num_threads(1)
        threadpool_limits(1)
        self.pool = inputs.make_pool(cell, _data(workload, cellrun.data_tokens(cell)))
        layer = chosen.prepare(self.pool.weights, workload)
        self.calls = [layer.bind(x, y) for x, y in zip(self.pool.x, self.pool.y, strict=True)][: self.most_calls]
        self.wait = _nothing
        if device == "cuda":
            self.wait = torch.cuda.synchronize
        self.ready = (name, batch)
        self.time_pass(name, batch)

    def time_pass(self, _name, _batch):
        for call in self.calls:
            call()
        self.wait()


def _data(workload, tokens):
    if hasattr(workload, "draw"):
        return workload.draw(tokens)
    from fffbench.plan import routing  # a commit from before kinds of layer

    return routing.make(workload, tokens)


def _nothing():
    """Nothing to wait for on a CPU."""


class Optimised(_Passes):
    """The kernels that are ours, whichever there are in this tree."""

    params = (list(OPTIMISED), BATCHES)
    param_names = ("implementation", "batch")

    def peakmem_pass(self, _name, _batch):
        for call in self.calls:
            call()
        self.wait()


class Control(_Passes):
    """Dense layers of libraries we do not change: where they move, the machine moved."""

    params = (["dense_linear", "dense_padded"], CONTROL_BATCHES)
    most_calls = 4  # a call reads 25 MB of weights, so a short pass is long enough to time
    param_names = ("implementation", "batch")


PUBLISHED = tuple(f"d768-n4095-t1x12-b{batch}-fp32-" for batch in BATCHES)  # what Optimised measures of every kernel


def guarded():
    """The workloads that kernels declare in ``GUARDED``, ``name id`` each, beyond those of ``Optimised``.

    This tree's are read, as above; behind them stand those of other packages that are installed here.
    """
    found = []
    for path in sorted(IMPLEMENTATIONS.glob("[a-z]*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        named = {target: value for node in body for target, value in _assigned(node)}
        beyond = [text for text in named.get("GUARDED", ()) if path.stem not in OPTIMISED or _beyond(text)]
        found += [f"{path.stem} {text}" for text in beyond]
    return found + _of_others()


def _beyond(text):
    return not text.startswith(PUBLISHED)


def _of_others():
    try:
        from fffbench.implementations.registry import implementations

        foreign = (item for item in implementations().values() if item.foreign)
        return sorted(f"{item.name} {text}" for item in foreign for text in item.guarded)
    except (AttributeError, ImportError):  # a commit from before GUARDED
        return []


class Guarded(_Passes):
    """Every workload that a kernel declares as guarded, and that ``Optimised`` does not measure."""

    params = (guarded(),)
    param_names = ("case",)

    def setup(self, case):
        if self.ready == case:
            return
        name, text = case.split(" ")
        if "-cuda-" in text and not NVIDIA.exists():
            raise NotImplementedError("no NVIDIA device here")
        import torch
        from threadpoolctl import threadpool_limits

        from fffbench.implementations.registry import implementation
        from fffbench.measure import cellrun, inputs
        from fffbench.plan.workload import parse_cell

        try:
            cell, chosen = parse_cell(f"{name}@{text}@warm-kernel"), implementation(name)
        except Exception as error:  # a commit from before this implementation or this kind of layer
            raise NotImplementedError(str(error)) from error
        workload = cell.workload
        reason = chosen.unsupported(workload)
        if reason is not None:
            raise NotImplementedError(reason)
        torch.set_num_threads(workload.threads)
        threadpool_limits(workload.threads)
        self.pool = inputs.make_pool(cell, _data(workload, cellrun.data_tokens(cell)))
        layer = chosen.prepare(self.pool.weights, workload)
        self.calls = [layer.bind(x, y) for x, y in zip(self.pool.x, self.pool.y, strict=True)][: self.most_calls]
        self.wait = torch.cuda.synchronize if workload.device == "cuda" else _nothing
        self.ready = case
        self.time_pass(case)

    def time_pass(self, _case):
        for call in self.calls:
            call()
        self.wait()
