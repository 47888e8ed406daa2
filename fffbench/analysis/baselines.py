"""What can a speed-up be over, and at which number of threads? A row of a table each, with its sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fffbench.analysis.rows import Timed
from fffbench.plan.workload import Cell, Shape, parse_cell
from fffbench.problems import parse_problem
from fffbench.problems.base import DENSE

THREADS_MEANING = {
    "same": "both sides on the same number of threads",
    "fastest": (
        "each side on the number of threads that is fastest for it, known only where both sides were measured on all "
        "threads of the machine and on the same numbers of threads"
    ),
}
BASELINE_THREADS = tuple(THREADS_MEANING)
PUBLISHED = "dense_linear"  # the paper's "native fused" row
BERT_WIDTH = 3072
PUBLISHED_WIDTH = 4095
SAME_PRIMITIVE = {
    "cmm_gather_bmm": "dense_bmm",
    "cmm_masked": "dense_linear",
    "cmm_sparse": "dense_linear",
    "cmm_leaf_gather": "dense_bmm",
    "cmm_blas1": "dense_blas1",
    "cmm_blas2": "dense_blas2",
    "cmm_cuda_naive": "dense_cuda_naive",
}

ONE_THREAD = ("cmm_blas1",)  # one thread runs its loop, however many are allowed: one is its fastest count


@dataclass(frozen=True)
class Baseline:
    """One thing that a speed-up can be over: the fastest of the dense layers that ``fits`` and ``layer`` leave."""

    meaning: str
    fits: Callable[[Shape, Shape], bool]  # the conditional layer, then the dense one of the same width d
    layer: Callable[[str], str | None] = lambda _: None  # the one dense layer that will do for an implementation
    applies: Callable[[Cell], bool] = lambda _: True  # whether a cell has such a row at all
    best_of_all: bool = False  # what may be faster and was not tried then casts doubt on it
    dtype: str = ""  # of the dense side, where it is another one; there is no row where nothing was measured in it

    def takes(self, own: Shape, other: Shape) -> bool:
        """Whether a dense layer, measured on the neurons of ``other``, may stand beside ``own``."""
        dense = other.seen_by(DENSE)
        return dense.kind == own.dense_kind and dense.d == own.d and self.fits(own, dense)


def _as_wide(own: Shape, other: Shape) -> bool:
    return other.n == own.n


def _at_least_as_wide(own: Shape, other: Shape) -> bool:
    return other.replaces(own)


TABLE = {
    "published": Baseline(
        "a plain torch linear of the same width, the paper's native fused row", _as_wide, layer=lambda _: PUBLISHED
    ),
    "same-primitive": Baseline(
        "the dense layer built from the same operation",
        _as_wide,
        layer=SAME_PRIMITIVE.get,
        applies=lambda cell: cell.implementation in SAME_PRIMITIVE,
    ),
    "bert": Baseline("the fastest dense layer of width 3072", lambda _, other: other.n == BERT_WIDTH),
    "best-dense": Baseline(
        "the fastest correct dense layer with at least as many neurons that was measured on that machine at the same "
        "batch, data type, device, cache protocol and call; padding, tiling and any GELU within tolerance are allowed "
        "to it",
        _at_least_as_wide,
        best_of_all=True,
    ),
    "best-dense-tf32": Baseline(
        "the same in fp32 with TF32, beside an FFF in strict fp32 on a GPU, where one was measured",
        _at_least_as_wide,
        applies=lambda cell: cell.workload.dtype == "fp32" and cell.workload.place.has_tf32,
        best_of_all=True,
        dtype="tf32",
    ),
}
BASELINES = tuple(TABLE)
BASELINE_MEANING = {name: row.meaning for name, row in TABLE.items()}
WITH_TF32 = "best-dense-tf32"
WIDER = "wider"  # a dense layer over a wider one: of claims about that, and no column of a table


class Cells:
    """The cells of a place, in an order; equal ones are one object, so that what follows from them is found once.

    Machines of one kind measure the same cells, and each is asked about some of them a thousand times.
    """

    __slots__ = ("cells",)

    def __init__(self, cells: tuple[Cell, ...]) -> None:
        """By ``cells_of`` alone."""
        self.cells = cells


@lru_cache(maxsize=5_000)
def _cells(ids: tuple[str, ...]) -> Cells:
    return Cells(tuple(map(parse_cell, ids)))


def cells_of(items: Iterable[Timed]) -> Cells:
    """The cells of ``items``."""
    return _cells(tuple([item.record.cell.id for item in items]))


def candidates_of(baseline: str, subject: Timed, dense: Sequence[Timed]) -> list[Timed]:
    """Which of the ``dense`` records in the subject's context can serve as ``baseline``."""
    return [dense[place] for place in fitting(baseline, subject.record.cell, cells_of(dense))]


def fitting(baseline: str, cell: Cell, dense: Cells, threads: int | None = None) -> tuple[int, ...]:
    """The places in ``dense`` of the cells that can serve as ``baseline`` of ``cell``; of those on ``threads``."""
    return _fitting(baseline, TABLE[baseline].layer(cell.implementation), cell.columns[0], dense, threads)


@lru_cache(maxsize=20_000)
def _fitting(baseline: str, wanted: str | None, shape: str, dense: Cells, threads: int | None) -> tuple[int, ...]:
    own, row = parse_problem(shape), TABLE[baseline]
    fits = {other: row.takes(own, other) for other in {cell.workload.shape for cell in dense.cells}}
    return tuple(
        place
        for place, cell in enumerate(dense.cells)
        if fits[cell.workload.shape]
        and wanted in (None, cell.implementation)
        and threads in (None, cell.workload.threads)
    )
