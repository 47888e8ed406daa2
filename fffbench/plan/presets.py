"""Which cells does each preset ask for?

A preset is a list of ``Block``s: a product of axes over the implementations that make sense there. Thread counts are
resolved against the machine (``all``, ``physical``) by ``fffbench.plan.matrix``.

Dense layers do their work whatever the routing, so they are measured under ``uniform`` only and serve as baseline for
every routing. The file is long because it is data: a few lines of code, and every preset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fffbench.plan import fidelity
from fffbench.plan.workload import Shape

D = 768  # BERT-base's width, used by every published figure
PUBLISHED = Shape.tree(D, trees=1, levels=12)  # UltraFastBERT-1x11: 12 of 4095 neurons
BERT = Shape.dense(D, 3072)  # BERT-base's own feedforward layer
PUBLISHED_ROUTING = ("single-path",)  # what unwritten weights do to the published benchmark's tokens

DENSE = (
    "dense_linear",
    "dense_padded",
    "dense_tiled",
    "dense_onednn",
    "dense_blas3",
    "dense_fused",
    "dense_compiled",
    "dense_gemm",
    "dense_gemv",
)  # candidates for best-dense; a block keeps those that run on its device
# two threads a core may be slower than one, on either side; where cores have one each, these are the same cells
EVERY = ("physical", "all")
NAIVE = ("cmm_gather_bmm", "cmm_masked")


@dataclass(frozen=True)
class Block:
    """A product of axes.

    ``threads`` are counts, ``all`` or ``physical``; ``implementations`` names or ``family:fff``.
    """

    implementations: tuple[str, ...]
    shapes: tuple[Shape, ...] = (PUBLISHED,)
    batches: tuple[int, ...] = (1, 128, 16384)
    dtypes: tuple[str, ...] = ("fp32",)
    routings: tuple[str, ...] = ("uniform",)
    threads: tuple[int | str, ...] = (1, *EVERY)
    devices: tuple[str, ...] = ("cpu",)
    caches: tuple[str, ...] = ("cold",)
    calls: tuple[str, ...] = ("kernel",)
    keep: bool = False  # what the preset is for: these have all their processes before others have one


@dataclass(frozen=True)
class Preset:
    """A named set of blocks, with how thoroughly it is measured by default."""

    name: str
    summary: str
    blocks: tuple[Block, ...]
    processes: int = 6
    sample_seconds: float = 0.25
    budget_seconds: float | None = None


# quick leaves out the dense layers that have never been the fastest in a cell; headline has them all
QUICK_DENSE = ("dense_linear", "dense_fused", "dense_blas3", "dense_gemv")
QUICK = Preset(
    "quick",
    "768 -> 4095, 12 levels; batches 1, 128, 16384; one and all threads; minutes on 2 cores",
    (
        Block(
            ("dense_fused", "dense_gemm", "dense_blas3", "dense_padded", "family:fff"),
            batches=(16384,),
            threads=EVERY,
            keep=True,
        ),
        Block((*QUICK_DENSE, "family:fff"), batches=(1, 128)),
        Block(("dense_linear",), batches=(16384,), threads=EVERY),
        Block(("dense_fused", "dense_gemm", "dense_blas3", "family:fff"), batches=(16384,), threads=(1,)),
        Block(
            ("dense_blas3", "dense_gemv", "family:fff"),
            batches=(1,),
            threads=(1,),
            caches=("cold", "warm"),
            calls=("kernel", "torch"),
        ),
        Block(("cmm_gather_bmm", "cmm_masked", "dense_bmm"), batches=(128,), threads=EVERY),
        Block(
            ("dense_linear", "family:fff"),
            batches=(16384,),
            threads=EVERY,
            routings=PUBLISHED_ROUTING,
            caches=("hot",),
        ),
        Block(("family:fff",), batches=(16384,), threads=EVERY, routings=PUBLISHED_ROUTING),  # why it is not 341x
    ),
    sample_seconds=0.15,
    budget_seconds=195.0,
)

HEADLINE = Preset(
    "headline",
    "what the first screen and every claim need: fp32 and bf16, batches 1 to 65536, CPU and GPU",
    (
        # a dense layer that its rivals leave behind in the first process gets no second one where time is short
        Block((*DENSE, "family:fff"), batches=(1, 128), dtypes=("fp32", "bf16"), keep=True),
        Block((*DENSE, "family:fff"), batches=(16384,), dtypes=("fp32", "bf16"), threads=EVERY, keep=True),
        Block(
            ("dense_onednn", "dense_fused", "dense_gemm", "family:fff"),
            batches=(16384,),
            dtypes=("fp32", "bf16"),
            threads=(1,),
            keep=True,
        ),
        Block(
            (*DENSE, "family:fff"), batches=(1,), threads=(1,), caches=("warm",), calls=("kernel", "torch"), keep=True
        ),
        # why it is not 341x: the cells between the ceiling and the headline, milliseconds each
        Block(
            ("family:fff",),
            batches=(16384,),
            dtypes=("fp32", "bf16"),
            threads=EVERY,
            routings=PUBLISHED_ROUTING,
            caches=("hot", "cold"),
            keep=True,
        ),
        Block(
            ("family:fff",),
            batches=(16384,),
            dtypes=("fp32", "bf16"),
            routings=PUBLISHED_ROUTING,
            devices=("cuda",),
            caches=("hot", "cold"),
            calls=("graph",),
            keep=True,
        ),
        Block(("dense_linear", "dense_padded", "dense_blas3"), batches=(16384,), dtypes=("fp32", "bf16"), threads=(1,)),
        Block((*DENSE, "family:fff"), batches=(1024,), dtypes=("fp32", "bf16")),
        Block((*DENSE, "family:fff"), batches=(16384,), threads=EVERY, calls=("torch",)),
        Block(
            (*DENSE, "family:fff"),
            batches=(1, 64, 1024, 16384, 65536),
            dtypes=("fp32", "bf16"),
            devices=("cuda",),
            calls=("graph",),
            keep=True,
        ),
        Block((*DENSE, "family:fff"), batches=(16384,), dtypes=("tf32", "fp16"), devices=("cuda",), calls=("graph",)),
    ),
)

# The dense layers that have been the fastest in a cell of this size on the machines seen so far carry the comparison;
# the others are measured once each, so that a machine where one of them wins shows it.
FAST_DENSE = ("dense_gemm", "dense_fused", "dense_onednn", "dense_blas3")
SMALL_BATCH_DENSE = ("dense_gemv", "dense_blas3", "dense_fused")
# One token after the other, 17 s a call at 16384 on Zen 4: the claims about these take a smaller batch as well.
TOKEN_BY_TOKEN = ("dense_blas1", "dense_blas2")
FEWER = 1024

PAPER = Preset(
    "paper",
    "the published table: 768 -> 4095 and 3072, batch 16384, fp32, under published and under fair conditions",
    (
        # what the verdicts rest on: about 75 s a process on 2 cores, 50 s on 16
        Block(("dense_linear",), batches=(16384,), caches=("hot",), calls=("torch",), keep=True),
        Block(
            ("family:fff", "cmm_blas1"),
            batches=(16384,),
            routings=PUBLISHED_ROUTING,
            caches=("hot",),
            calls=("torch",),
            keep=True,
        ),
        Block(
            ("dense_linear",),
            shapes=(BERT,),
            batches=(16384,),
            threads=EVERY,
            caches=("hot",),
            calls=("torch",),
            keep=True,
        ),
        Block(FAST_DENSE, shapes=(PUBLISHED, BERT), batches=(16384,), threads=EVERY, keep=True),
        Block(("family:fff",), batches=(16384,), keep=True),
        Block(("cmm_blas1",), batches=(16384,), threads=(1,), keep=True),
        Block(("cmm_blas2",), batches=(16384,), keep=True),  # its batched products may use several threads
        Block(TOKEN_BY_TOKEN, shapes=(PUBLISHED, BERT), batches=(FEWER,), threads=(1,), caches=("hot",), keep=True),
        Block(
            ("cmm_blas1", "cmm_blas2"),
            batches=(FEWER,),
            routings=PUBLISHED_ROUTING,
            threads=(1,),
            caches=("hot",),
            keep=True,
        ),
        # the rest of the table
        Block((*DENSE, *NAIVE), batches=(16384,)),
        Block(DENSE, shapes=(BERT,), batches=(16384,)),
        Block(("dense_linear",), shapes=(BERT,), batches=(16384,), caches=("hot",), calls=("torch",)),
        Block(("cmm_gather_bmm",), batches=(16384,), routings=PUBLISHED_ROUTING, caches=("hot",), calls=("torch",)),
        Block(("family:fff",), batches=(16384,), routings=("uniform", "single-path"), caches=("hot", "warm", "cold")),
        Block(
            ("dense_linear", "dense_padded", "dense_bmm", "dense_cuda_naive", "family:cmm", "family:fff"),
            batches=(16384,),
            devices=("cuda",),
            caches=("cold", "hot"),
        ),
        Block(
            ("dense_linear", "dense_padded", "dense_bmm", "dense_cuda_naive"),
            shapes=(BERT,),
            batches=(16384,),
            devices=("cuda",),
            caches=("cold", "hot"),
        ),
        Block(
            ("family:cmm", "family:fff"),
            batches=(16384,),
            routings=PUBLISHED_ROUTING,
            devices=("cuda",),
            caches=("hot",),
        ),
    ),
    sample_seconds=0.15,
)

WIDTHS = tuple(Shape.tree(D, 1, levels) for levels in range(8, 18))

WIDTH = Preset(
    "width",
    "255 to 131071 neurons (8 to 17 levels) at batch 1024; on a GPU to 2**20 neurons, at batch 16384 too",
    (
        # on 2 cores of Zen 4 one process of every width takes a layer 19 s on two threads, 32 s on one
        Block(("dense_gemm", "family:fff"), shapes=WIDTHS, batches=(1024,), keep=True),
        Block(FAST_DENSE, shapes=WIDTHS, batches=(1024,), threads=EVERY, keep=True),
        Block(("dense_fused",), shapes=WIDTHS, batches=(1024,), threads=(1,)),
        Block(DENSE, shapes=WIDTHS, batches=(1024,), threads=EVERY),
        Block(
            # a batch of 16384 is one tile of dense_tiled: there it would be dense_padded
            ("dense_padded", "dense_fused", "family:fff"),
            shapes=tuple(Shape.tree(D, 1, levels) for levels in range(8, 21)),
            batches=(1024, 16384),
            dtypes=("bf16",),
            devices=("cuda",),
            calls=("graph",),
            keep=True,
        ),
    ),
)

BATCH = Preset(
    "batch",
    "768 -> 4095 at batches from 1 to 65536, one and all threads; on a GPU in fp32 and bf16",
    (
        Block((*SMALL_BATCH_DENSE, "family:fff"), batches=(1, 4, 16), keep=True),
        Block(("dense_gemm", "dense_fused", "dense_onednn", "family:fff"), batches=(64, 256, 1024, 4096), keep=True),
        Block(("dense_gemm", "family:fff"), batches=(16384, 65536), keep=True),
        Block(("dense_fused", "dense_onednn"), batches=(16384, 65536), threads=EVERY, keep=True),
        Block(("dense_fused",), batches=(16384, 65536), threads=(1,)),
        Block(DENSE, batches=(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536), threads=EVERY),
        Block(
            ("dense_padded", "dense_tiled", "family:fff"),
            batches=tuple(4**i for i in range(9)),
            dtypes=("fp32", "bf16"),
            devices=("cuda",),
            calls=("graph",),
            keep=True,
        ),
    ),
)

# The shapes that UltraFastBERT was published in: trees x levels of about as many neurons each, from one in which every
# neuron is used to one that uses 12.
TREES = (3072, 1536, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
FAMILY_SHAPES = tuple(Shape.tree(D, trees, levels) for levels, trees in enumerate(TREES, start=1))

FAMILY = Preset(
    "family",
    "the twelve shapes of UltraFastBERT, 3072 trees of 1 level to 1 of 12; batches 1, 128, 1024, 16384",
    (
        Block(
            (*dict.fromkeys((*SMALL_BATCH_DENSE, *FAST_DENSE)), "family:fff"),
            shapes=FAMILY_SHAPES,
            batches=(1, 128, 1024),
            dtypes=("fp32", "bf16"),
            threads=EVERY,
            keep=True,
        ),
        Block((*FAST_DENSE, "family:fff"), FAMILY_SHAPES, (16384,), ("fp32",), threads=EVERY, keep=True),
        Block(
            ("dense_padded", "dense_fused", "family:fff"),
            shapes=FAMILY_SHAPES,
            batches=(1, 128, 1024, 16384),
            dtypes=("fp32", "bf16"),
            devices=("cuda",),
            calls=("graph",),
            keep=True,
        ),
        Block(
            ("dense_padded", "dense_fused", "family:fff"),
            shapes=FAMILY_SHAPES,
            batches=(16384,),
            dtypes=("fp16",),
            devices=("cuda",),
            calls=("graph",),
        ),
    ),
    sample_seconds=0.15,
)

# Feedforward layers of named models, one tree of at least as many neurons: BERT-large 1024 -> 4096, GPT-2 XL
# 1600 -> 6400, the width of Llama-3-8B 4096 -> 14336 (which is gated, this is not), GPT-3 12288 -> 49152.
WIDE_SHAPES = tuple(Shape.tree(d, 1, levels) for d, levels in ((1024, 13), (1600, 13), (4096, 14), (12288, 16)))

WIDE = Preset(
    "wide",
    "layers of BERT-large, GPT-2 XL, Llama-3-8B's width and GPT-3, one tree each; batches 1, 128, 4096",
    (
        Block(
            ("dense_gemv", "dense_blas3", "dense_fused", "family:fff"),
            shapes=WIDE_SHAPES,
            batches=(1, 128),
            dtypes=("fp32", "bf16"),
            threads=EVERY,
            keep=True,
        ),
        Block((*FAST_DENSE, "family:fff"), WIDE_SHAPES[:2], (4096,), ("fp32",), threads=EVERY, keep=True),
        Block(
            ("dense_padded", "dense_fused", "family:fff"),
            shapes=WIDE_SHAPES,
            batches=(1, 128, 4096),
            dtypes=("bf16",),
            devices=("cuda",),
            calls=("graph",),
            keep=True,
        ),
    ),
    sample_seconds=0.15,
)

# Routers x leaf, 4096 neurons each: from leaves as narrow as the published ones to one that is an expert of a mixture.
NARROW_LEAF = Shape.leaf(D, 1, 7, 32)
WIDER_LEAVES = tuple(Shape.leaf(D, 1, levels, width) for levels, width in ((6, 64), (5, 128), (3, 512)))

LEAF = Preset(
    "leaf",
    "the 2023 form, 4096 neurons: 7 levels of routers above leaves of 32 to 3 above 512; uniform and Zipf routing",
    (
        Block(
            (*dict.fromkeys((*SMALL_BATCH_DENSE, *FAST_DENSE)), "cmm_leaf_gather", "family:fff"),
            shapes=(NARROW_LEAF,),
            batches=(1, 128, 1024, 16384),
            routings=("uniform", "zipf"),
            keep=True,
        ),
        Block(DENSE, shapes=(NARROW_LEAF,), batches=(1, 128, 1024), threads=EVERY),
        Block(
            (*dict.fromkeys((*SMALL_BATCH_DENSE, *FAST_DENSE)), "family:fff"),
            shapes=WIDER_LEAVES,
            batches=(1, 128, 1024),
            threads=EVERY,
            keep=True,
        ),
        Block(
            ("dense_padded", "dense_fused", "cmm_leaf_gather", "cmm_leaf_grouped", "family:fff"),
            shapes=(NARROW_LEAF, *WIDER_LEAVES),
            batches=(1, 128, 1024, 16384),
            dtypes=("fp32", "bf16"),
            devices=("cuda",),
            calls=("graph",),
            keep=True,
        ),
    ),
)

# fair dense candidates of the ladder: what is the fastest layer at large batches on the machines seen so far
LADDER_DENSE = ("dense_linear", *FAST_DENSE)
LADDER_BATCHES = (4096, 16384)
FIRST_LADDERS = ("cpu-78x", "cpu-78x-over-bert", "cpu-48x")
SMALL, PUBLISHED_BATCH = LADDER_BATCHES


def _ladder_blocks() -> tuple[Block, ...]:
    """The cells of the fidelity ladder: every rung at batch 4096; at 16384 those whose calls take seconds, not tens.

    The ladders from the published best (78x at both widths, 48x) at batch 4096 come first, down to their last rung; the
    others rest on calls of seconds.
    """
    narrow = Shape.dense(D, PUBLISHED.n)
    quick = ("faulty_blas_fff", "faulty_blas_ff3", "cmm_blas")
    blocks = []
    for shape in (PUBLISHED, narrow, BERT):
        for protocol, named in fidelity.names("cpu", shape, claims=FIRST_LADDERS).items():
            kept = {"shapes": (shape,), "caches": (protocol.cache,), "calls": (protocol.call,), "keep": True}
            blocks.append(Block(named, batches=(SMALL,), **kept))  # type: ignore[arg-type]
        for protocol, named in fidelity.names("cpu", shape).items():
            kind = {"shapes": (shape,), "caches": (protocol.cache,), "calls": (protocol.call,)}
            blocks.append(Block(named, batches=(SMALL,), **kind))  # type: ignore[arg-type]
            at_16384 = tuple(name for name in named if name.startswith(quick))
            if at_16384:
                blocks.append(Block(at_16384, batches=(PUBLISHED_BATCH,), **kind))  # type: ignore[arg-type]
    both = ("hot", "cold")
    blocks.append(Block((*LADDER_DENSE, "family:fff"), batches=(SMALL,), caches=both, keep=True))
    blocks.append(Block((*LADDER_DENSE, "family:fff"), batches=(PUBLISHED_BATCH,), caches=both))
    blocks.append(Block(LADDER_DENSE, shapes=(BERT,), batches=(SMALL,), caches=both, keep=True))
    blocks.append(Block(LADDER_DENSE, shapes=(BERT,), batches=(PUBLISHED_BATCH,), caches=both))
    for shape in (PUBLISHED, narrow):
        for protocol, named in fidelity.names("cuda", shape).items():
            kind = {"shapes": (shape,), "caches": (protocol.cache,), "calls": (protocol.call,), "devices": ("cuda",)}
            blocks.append(Block(named, batches=(PUBLISHED_BATCH,), **kind))  # type: ignore[arg-type]
    gpu_dense = ("dense_linear", "dense_padded", "dense_tiled", "dense_fused")
    blocks.append(Block((*gpu_dense, "family:fff"), batches=(PUBLISHED_BATCH,), devices=("cuda",), caches=both))
    blocks.append(Block(gpu_dense, batches=(PUBLISHED_BATCH,), dtypes=("tf32",), devices=("cuda",)))
    return tuple(blocks)


FIDELITY = Preset(
    "fidelity",
    "the published benchmarks as published, then one mistake mended at a time; batches 4096 and 16384",
    _ladder_blocks(),
    sample_seconds=0.15,
    budget_seconds=1800.0,
)

# fast-ffn's layer of 8191 neurons; its batch is 32764, 8.5 s of one thread of Zen 4 (0.266 s measured at 1024), so on a
# CPU the claim takes the smaller batch as well.
FAST_FFN, FAST_FFN_BATCH = Shape.tree(D, 1, 13), 32764
SAP_IENT, SAP_IENT_BATCH = Shape.tree(8192, 1, 13), 128
VISION, VISION_BATCH = (Shape.leaf(128, 1, 7, 1), Shape.leaf(128, 1, 2, 32)), 2048  # of the 2023 paper's table 3
GPU_DENSE = ("dense_linear", "dense_padded", "dense_tiled", "dense_fused")
BATCHED = ("dense_bmm", "cmm_gather_bmm")
NATIVE = ("dense_linear", "cmm_gather_bmm")


def _user_blocks() -> tuple[Block, ...]:
    """Each report as it was made (hot, through torch), and the fair comparison at the same work (cold, bare)."""
    as_made: dict[str, Any] = {"caches": ("hot",), "calls": ("torch",), "keep": True}
    every: dict[str, Any] = {"threads": EVERY, "keep": True}
    on_gpu: dict[str, Any] = {"devices": ("cuda",), "keep": True}
    blocks = [
        # the published script, batched product over batched product; the forum's figure at a batch a CPU can bear
        Block(BATCHED, batches=(1, 10, 100), threads=EVERY, **as_made),
        Block((*SMALL_BATCH_DENSE, "family:fff"), batches=(1, 10, 100), **every),
        Block(BATCHED, batches=(FEWER,), routings=PUBLISHED_ROUTING, threads=EVERY, **as_made),
        Block((*FAST_DENSE, "family:fff"), batches=(16384,), **every),
        Block(BATCHED, batches=(16384,), routings=PUBLISHED_ROUTING, devices=("cuda",), **as_made),
        Block((*GPU_DENSE, "family:fff"), batches=(16384,), calls=("graph",), **on_gpu),
        # fast-ffn, one thread, and sap-ient-ai
        Block(("dense_linear", "family:fff"), (FAST_FFN,), (FEWER,), threads=(1,), **as_made),
        Block((*FAST_DENSE, "family:fff"), (FAST_FFN,), (FEWER,), threads=(1,), keep=True),
        Block(NATIVE, (SAP_IENT,), (SAP_IENT_BATCH,), threads=EVERY, **as_made),
        Block((*FAST_DENSE, "family:fff"), (SAP_IENT,), (SAP_IENT_BATCH,), **every),
    ]
    for shape, batch in ((FAST_FFN, FAST_FFN_BATCH), (SAP_IENT, SAP_IENT_BATCH)):
        blocks.append(Block(NATIVE, (shape,), (batch,), devices=("cuda",), **as_made))
        blocks.append(Block((*GPU_DENSE, "family:fff"), (shape,), (batch,), calls=("graph",), **on_gpu))
    leaf = "cmm_leaf_gather"
    blocks.append(Block(("dense_linear", leaf), VISION, (VISION_BATCH,), caches=("hot",), calls=("graph",), **on_gpu))
    blocks.append(Block((*GPU_DENSE, leaf), VISION, (VISION_BATCH,), calls=("graph",), **on_gpu))
    return tuple(blocks)


USERS = Preset(
    "users",
    "what users reported, and the vision transformer's table of 2023, as reported and under fair conditions",
    _user_blocks(),
    sample_seconds=0.15,
)

FULL = Preset(
    "full",
    "headline, paper, users, width, batch, family, wide and leaf together",
    tuple(block for part in (HEADLINE, PAPER, USERS, WIDTH, BATCH, FAMILY, WIDE, LEAF) for block in part.blocks),
)

PRESETS = {
    preset.name: preset for preset in (QUICK, HEADLINE, PAPER, USERS, WIDTH, BATCH, FAMILY, WIDE, LEAF, FIDELITY, FULL)
}
