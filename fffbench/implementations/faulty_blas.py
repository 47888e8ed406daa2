"""The published CPU benchmark's sequences of BLAS calls with their mistakes, one mended at a time.

The rungs of the fidelity ladder (``plan.fidelity``) for BLAS levels 1, 2 and 3, tree (``fff``) and dense (``ff``),
rewritten from the description in the ledger of claims and compared with a build of the source
(``docs/notebook/fidelity.md``). ``published``: weights and inputs are pages that were never
written, so every logit is zero and every token goes left; whatever the call needs is allocated inside it. ``random``:
the workload's weights and inputs. ``rows``: each token reads and writes its own rows. ``activated``: rows of W2 are
scaled by the activations. ``buffers``: memory is allocated beforehand. What is mended further is ``cmm_blas1``,
``cmm_blas2``, ``dense_blas1`` and ``dense_blas2``.

GELU is MKL's vector functions in two passes, as published, where the BLAS is MKL; else our own, and the notes say so.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fffbench import blaslib
from fffbench.implementations.registry import Layer, Variant, Weights
from fffbench.plan.workload import Workload

if TYPE_CHECKING:
    import torch

FAMILY = "faulty"
DEVICES = ("cpu",)
DTYPES = ("fp32",)

_ZERO = "weights and inputs are unwritten zeros, not the workload's"
_ONE_ROW = "every token reads and writes the rows of the second token"
_UNUSED = "activations are computed and not used"
VARIANTS = {
    "fff1_published": Variant("FFF by BLAS level 1 as published.", f"{_ZERO}; output rows stand in for W2"),
    "fff1_random": Variant("FFF by BLAS level 1 as published, on random data.", "output rows stand in for W2"),
    "fff1_rows": Variant("FFF by BLAS level 1, computed rightly; level by level over all tokens, as published."),
    "fff2_published": Variant("FFF by BLAS level 2 as published.", f"{_ZERO}; {_ONE_ROW}; {_UNUSED}"),
    "fff2_random": Variant("FFF by BLAS level 2 as published, on random data.", f"{_ONE_ROW}; {_UNUSED}"),
    "fff2_rows": Variant("FFF by BLAS level 2, each token its own rows.", _UNUSED),
    "fff2_activated": Variant("FFF by BLAS level 2, computed rightly; lists allocated inside the call."),
    "ff1_published": Variant("Dense FF by BLAS level 1 as published.", _ZERO),
    "ff2_published": Variant("Dense FF by BLAS level 2 as published.", f"{_ZERO}; {_ONE_ROW}"),
    "ff2_random": Variant("Dense FF by BLAS level 2 as published, on random data.", _ONE_ROW),
    "ff2_rows": Variant("Dense FF by BLAS level 2, computed rightly; hidden layer allocated inside the call."),
    "ff3_published": Variant("Dense FF by BLAS level 3 as published.", _ZERO),
    "ff3_random": Variant("Dense FF by BLAS level 3, computed rightly; hidden layer allocated inside the call."),
    "ff3_buffers": Variant("Dense FF by BLAS level 3, the whole batch at once, hidden layer allocated beforehand."),
}


def unsupported(workload: Workload, variant: str) -> str | None:
    """Trees of the published kind for ``fff``, plain shapes for ``ff``; a BLAS and the compiled loops around it."""
    shape = workload.shape
    if variant.startswith("fff") and (shape.leaf_width or shape.trees != 1):
        return f"{variant}: the published routine computes one tree, not {shape.id}"
    if not variant.startswith("fff") and shape.is_tree:
        return f"{variant}: a dense layer, measured at plain shapes such as d768-n4095"
    if variant in ("fff1_published", "fff1_random") and workload.batch < shape.n:
        return f"{variant}: reads {shape.n} rows of the output, of which a batch of {workload.batch} has too few"
    if workload.batch < 2:
        return f"{variant}: mistakes are made with the second token's rows, so it needs a batch of at least 2"
    return blaslib.missing(loops=True)


@dataclass(frozen=True)
class _At:
    """Addresses of one call's operands."""

    x: int
    w1: int
    w2: int
    y: int


def prepare(weights: Weights, workload: Workload, variant: str) -> Layer:
    """Nothing is packed. ``bind`` sets the output to zero once, as published; what adds to it goes on adding."""
    import torch

    blas = blaslib.use(workload.threads)
    routine, state = variant.split("_")
    run = {"fff1": _tree1, "fff2": _tree2, "ff1": _dense1, "ff2": _dense2, "ff3": _dense3}[routine]
    zero = [_Unwritten(tensor.numel()) for tensor in (weights.w1, weights.w2)] if state == "published" else []

    def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
        y.zero_()
        call = run(blas, workload, state)
        if zero:
            # the output too lies where malloc would put it, on pages of 4 KiB; it stays zero, as y is
            zero_x, zero_y = _Unwritten(x.numel()), _Unwritten(y.numel())
            ctypes.memset(zero_y.address, 0, 4 * y.numel())
            return lambda: call(_At(zero_x.address, zero[0].address, zero[1].address, zero_y.address))
        return lambda: call(_At(x.data_ptr(), weights.w1.data_ptr(), weights.w2.data_ptr(), y.data_ptr()))

    def forward(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        bind(x, y)()
        return y

    gelu = () if blas.vector("vsCdfNorm") else ("GELU by our own kernel, this BLAS has no vector functions",)
    return Layer(forward, bind, notes=(blas.note(workload.threads), *gelu))


class _Unwritten:
    """Private pages that nobody writes: the kernel maps the one page of zeros for each, as under a fresh malloc."""

    def __init__(self, floats: int) -> None:
        self._memory = mmap.mmap(-1, max(4, 4 * floats), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))


@contextmanager
def _fresh(floats: int) -> Iterator[int]:
    """Pages mapped for one call: what malloc does above 32 MiB, and what the worker's allocator settings prevent."""
    with mmap.mmap(-1, max(4, 4 * floats), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        view = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(view)
        del view  # a mapping with a view on it cannot be closed
        yield address


_Call = Callable[[_At], None]


def _tree1(blas: blaslib.Blas, workload: Workload, state: str) -> _Call:
    from fffbench import _cpu

    shape, batch = workload.shape, workload.batch
    functions = (blas.wide, blas.address("sdot"), blas.address("saxpy"))
    mended = state == "rows"
    return lambda at: _cpu.published_tree1(
        *functions, at.x, at.w1, at.w2 if mended else 0, at.y, batch=batch, d=shape.d, levels=shape.levels
    )


def _tree2(blas: blaslib.Blas, workload: Workload, state: str) -> _Call:
    from fffbench import _cpu

    shape, batch = workload.shape, workload.batch
    batched = [blas.address(name) for name in ("sgemv_batch", "saxpy_batch")]
    vector = [blas.vector(name) for name in ("vsCdfNorm", "vsMul")]
    gemv_batch, axpy_batch = batched if all(batched) else (0, 0)
    cdf, mul = vector if all(vector) else (0, 0)
    functions = (blas.wide, blas.address("sgemv"), blas.address("saxpy"), gemv_batch, axpy_batch, cdf, mul)
    own = state in ("rows", "activated")
    step, offset = (shape.d, 0) if own else (0, 4 * shape.d)
    return lambda at: _cpu.published_tree2(
        *functions, at.x + offset, at.w1, at.w2, at.y + offset,
        batch=batch, d=shape.d, levels=shape.levels, step=step, activated=state == "activated",
    )  # fmt: skip


def _dense1(blas: blaslib.Blas, workload: Workload, state: str) -> _Call:
    from fffbench import _cpu

    del state
    shape, batch = workload.shape, workload.batch
    functions = (blas.wide, blas.address("sdot"), blas.address("saxpy"))
    return lambda at: _cpu.published_dense1(*functions, at.x, at.w1, at.w2, at.y, batch=batch, d=shape.d, n=shape.n)


def _dense2(blas: blaslib.Blas, workload: Workload, state: str) -> _Call:
    from fffbench import _cpu

    shape, batch = workload.shape, workload.batch
    d, n = shape.d, shape.n
    functions = (blas.wide, blas.address("sgemv"), blas.address("sgemv_batch"))
    rows = 1 if state == "rows" else 0  # 0: every token at the row of the second
    gelu = _gelu(blas, workload.threads)
    plain, transposed, replaced = False, True, False
    added = not rows  # as published onto what the output holds; mended, in its place

    def call(at: _At) -> None:
        offset = 0 if rows else 1
        with _fresh(batch * n) as hidden, _fresh(batch * n) as shares:
            logits = hidden + 4 * n * offset
            _cpu.published_gemv_rows(
                *functions, plain, at.w1, at.x + 4 * d * offset, rows * d, logits, rows * n, batch, n, d, replaced
            )  # fmt: skip
            gelu(batch * n, hidden, shares)
            _cpu.published_gemv_rows(
                *functions, transposed, at.w2, logits, rows * n, at.y + 4 * d * offset, rows * d, batch, n, d, added
            )  # fmt: skip

    return call


def _dense3(blas: blaslib.Blas, workload: Workload, state: str) -> _Call:
    shape, batch = workload.shape, workload.batch
    first = blas.product(batch, shape.d, shape.n, transposed=True)
    second = blas.product(batch, shape.n, shape.d)
    gelu = _gelu(blas, workload.threads)
    size = batch * shape.n
    kept = [_Unwritten(size) for _ in range(2)] if state == "buffers" else []

    def call(at: _At) -> None:
        one, two = (nullcontext(item.address) for item in kept) if kept else (_fresh(size), _fresh(size))
        with one as hidden, two as shares:
            first(at.x, at.w1, hidden)
            gelu(size, hidden, shares)
            second(hidden, at.w2, at.y)

    return call


def _gelu(blas: blaslib.Blas, threads: int) -> Callable[[int, int, int], None]:
    """A function of a count and two addresses: GELU of the first in place, the second as room."""
    from fffbench import _cpu

    if not blas.vector("vsCdfNorm"):
        return lambda count, values, _room: _cpu.gelu(values, count, threads)
    cdf, mul = blas.library.vsCdfNorm, blas.library.vsMul
    cdf.argtypes, mul.argtypes = (ctypes.c_int32, *(ctypes.c_void_p,) * 2), (ctypes.c_int32, *(ctypes.c_void_p,) * 3)
    cdf.restype = mul.restype = None

    def in_two_passes(count: int, values: int, room: int) -> None:
        cdf(count, values, room)
        mul(count, values, room, values)

    return in_two_passes
