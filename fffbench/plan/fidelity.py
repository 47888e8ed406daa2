"""By which steps does one come from a published benchmark to a fair one?

A ladder belongs to one published figure. Its first rung repeats the benchmark
as published, mistakes included; each further rung mends one thing, on the FFF
side, the dense side or both; the last is the fair comparison. A rung is two
cells of one run. Implementations of family ``faulty`` stand on rungs only.
"""

from __future__ import annotations

from dataclasses import dataclass

from fffbench.plan.workload import Protocol, Shape

D, LEVELS, WIDTH, BERT_WIDTH = 768, 12, 4095, 3072
TREE = Shape.tree(D, 1, LEVELS)
HOT, COLD = Protocol("hot", "kernel"), Protocol("cold", "kernel")


@dataclass(frozen=True)
class Side:
    """One side of a rung: an implementation, or for ``best-dense`` and ``best-fff`` the fastest of the run there."""

    implementation: str
    shape: Shape = TREE
    protocol: Protocol = HOT
    dtype: str = "fp32"


@dataclass(frozen=True)
class Rung:
    """What was changed since the rung above, and the two sides; ``mistake`` where a fault of the benchmark was mended.

    Otherwise it is ours: another kernel, another dense layer, cold caches.
    """

    mended: str
    ours: Side
    dense: Side
    mistake: bool = True


@dataclass(frozen=True)
class Ladder:
    """The rungs of one published figure (of the claim of that id), in the order in which things are mended."""

    claim: str
    title: str
    device: str
    rungs: tuple[Rung, ...]


BEST_DENSE, BEST_FFF = "best-dense", "best-fff"


def _fair(dense: Side, width: int = WIDTH) -> tuple[Rung, ...]:
    """The last rungs of every ladder on a CPU, below two sides that compute the right thing."""
    shape = TREE if width == WIDTH else Shape.dense(D, width)
    best = Side(BEST_DENSE, shape)
    ours = Side(BEST_FFF)
    return (
        Rung("our FFF kernel", ours, dense, mistake=False),
        Rung("the fastest dense layer", ours, best, mistake=False),
        Rung("cold caches", Side(BEST_FFF, protocol=COLD), Side(BEST_DENSE, shape, COLD), mistake=False),
    )


def _level_2_rungs(dense: tuple[Side, Side, Side, Side, Side], width: int = WIDTH) -> tuple[Rung, ...]:
    """FFF by level 2 over the dense side as it is at each of five stages."""
    stages = (
        ("as published", "faulty_blas_fff2_published"),
        ("random weights and inputs instead of unwritten zeros", "faulty_blas_fff2_random"),
        ("rows of its own for each token", "faulty_blas_fff2_rows"),
        ("activations applied", "faulty_blas_fff2_activated"),
        ("memory allocated beforehand, one group for all gemvs", "cmm_blas2"),
    )
    rungs = tuple(Rung(said, Side(name), side) for (said, name), side in zip(stages, dense, strict=True))
    return rungs + _fair(rungs[-1].dense, width)


def _level_1_rungs(dense: tuple[Side, Side, Side, Side]) -> tuple[Rung, ...]:
    """FFF by level 1 over the dense side as it is at each of four stages."""
    stages = (
        ("as published", "faulty_blas_fff1_published"),
        ("random weights and inputs instead of unwritten zeros", "faulty_blas_fff1_random"),
        ("rows of W2 read instead of rows of the output", "faulty_blas_fff1_rows"),
        ("token by token instead of level by level, memory allocated beforehand", "cmm_blas1"),
    )
    rungs = tuple(Rung(said, Side(name), side) for (said, name), side in zip(stages, dense, strict=True))
    return rungs + _fair(rungs[-1].dense)


def _dense(name: str, width: int = WIDTH) -> Side:
    return Side(name, Shape.dense(D, width))


def _level_3(width: int = WIDTH) -> tuple[Side, Side, Side]:
    """Level 3 as published, on random data, and with memory allocated beforehand: its sequence of calls is right."""
    return tuple(_dense(f"faulty_blas_ff3_{state}", width) for state in ("published", "random", "buffers"))  # type: ignore[return-value]


def _cpu_ladders() -> tuple[Ladder, ...]:
    zero3, data3, kept3 = _level_3()
    zero_bert, data_bert, kept_bert = _level_3(BERT_WIDTH)
    ff1 = Side("dense_blas1")
    ff2 = [_dense(f"faulty_blas_ff2_{state}") for state in ("published", "random", "rows", "rows")]
    return (
        Ladder("cpu-78x", "FFF by BLAS level 2 over dense by level 3", "cpu",
               _level_2_rungs((zero3, data3, data3, data3, kept3))),
        Ladder("cpu-78x-over-bert", "FFF by BLAS level 2 over dense of width 3072 by level 3", "cpu",
               _level_2_rungs((zero_bert, data_bert, data_bert, data_bert, kept_bert), BERT_WIDTH)),
        Ladder("cpu-48x", "FFF by BLAS level 1 over dense by level 3", "cpu",
               _level_1_rungs((zero3, data3, data3, kept3))),
        Ladder("cpu-255x", "FFF by BLAS level 2 over dense by level 2", "cpu",
               _level_2_rungs((ff2[0], ff2[1], ff2[2], ff2[3], Side("dense_blas2")))),
        Ladder("cpu-131x", "FFF by BLAS level 1 over dense by level 1", "cpu",
               _level_1_rungs((_dense("faulty_blas_ff1_published"), ff1, ff1, ff1))),
    )  # fmt: skip


def _torch(name: str, *, plain: bool = False) -> Side:
    return Side(name, Shape.dense(D, WIDTH) if plain else TREE, Protocol("hot", "torch"))


def _gpu_ladders() -> tuple[Ladder, ...]:
    graph = Protocol("hot", "kernel")
    ours, cold = Side(BEST_FFF, protocol=graph), Side(BEST_FFF, protocol=COLD)
    fair = (
        Rung("our FFF kernel", ours, Side("dense_linear", protocol=graph), mistake=False),
        Rung(
            "the fastest dense layer (padded: 4095 neurons are no multiple of a tile)",
            ours,
            Side(BEST_DENSE),
            mistake=False,
        ),
        Rung("cold caches", cold, Side(BEST_DENSE, protocol=COLD), mistake=False),
        Rung("tf32 on the dense side", cold, Side(BEST_DENSE, protocol=COLD, dtype="tf32"), mistake=False),
    )
    native, batched = [], []
    for said, state in (("as published", "unsynchronised"), ("a clock that waits for the GPU", "autograd")):
        native.append(
            Rung(said, _torch(f"faulty_torch_fff12_{state}"), _torch(f"faulty_torch_linear_{state}", plain=True))
        )
        batched.append(
            Rung(said, _torch(f"faulty_torch_fffbmm_{state}"), _torch(f"faulty_torch_bmm_{state}", plain=True))
        )
    native.append(Rung("no autograd", _torch("faulty_torch_fff12_inference"), _torch("dense_linear")))
    native.append(
        Rung("a tree of 4095 neurons instead of 12 shared ones", _torch("cmm_gather_bmm"), _torch("dense_linear"))
    )
    batched.append(Rung("no autograd", _torch("cmm_gather_bmm"), _torch("dense_bmm")))
    batched.append(
        Rung("a dense layer whose tokens share the weights", _torch("cmm_gather_bmm"), _torch("dense_linear"))
    )
    naive = (
        Rung("as published, computed rightly", Side("cmm_cuda_naive"), Side("dense_cuda_naive")),
        Rung("a dense layer whose tokens share the weights", Side("cmm_cuda_naive"), Side("dense_linear")),
    )
    return (
        Ladder("gpu-3.15x", "The shipped native FFF over the native dense layer", "cuda", (*native, *fair)),
        Ladder("gpu-40x", "FFF over dense, both by batched products per token", "cuda", (*batched, *fair)),
        Ladder("gpu-118x", "FFF over dense, both by a thread per token", "cuda", (*naive, *fair)),
    )


LADDERS = (*_cpu_ladders(), *_gpu_ladders())
