"""Which kernels compute a tree FFF of this shape, and with which macros, grids and workspace?

Pure arithmetic: no torch, no GPU. A strategy turns a ``Layout``, a ``Gpu`` and a batch into a ``Plan``, or says that it
cannot; ``choose`` picks the one measured to be fastest (docs/notebook/kernels-cuda.md). Arguments of a step are names
of pointers or plain integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fffbench.implementations.cuda import multi_plan
from fffbench.implementations.cuda.base import LANE_FLOATS, MIN_TENSOR_D, STATIC_SHARED, WARP, Gpu, Layout, Plan, Step

PATH_BLOCK = 128
MAX_TOP = 8  # activations of the first of two kernels: one 16-byte access in 16-bit storage
# Tokens per multiprocessor at which one strategy passes another, measured on an H200 at d = 768
# (docs/notebook/kernels-cuda.md); by bytes of an element.
READ_15 = {4: 2.0, 2: 1.0}  # up to here a block of the latency kernel reads 15 rows a round, above it 3
READ_3 = {4: (2, 8), 2: (2, 4)}  # levels ahead and warps of a block then
LATENCY_TOKENS = {4: 5.0, 2: 12.0}
SUBTREE_TOKENS = {4: 32.0, 2: 24.0}  # bf16 at batch 4096 on an H100: `tensor` 24.4 us, `path` 25.8; level at 2048
# 16-bit storage, tokens a multiprocessor: in this range a block of the latency kernel reads one row a round, because
# traffic with L2 is what is short. H100, bf16, cold, one row against three: batch 512 17.3 and 13.5 us, 1024 17.3 and
# 19.1, 1536 24.1 and 21.6.
READ_1_TOKENS = (6.0, 9.5)
READ_1 = (1, 2)  # levels ahead and warps of a block
# From this many on its blocks first send for all weights, if there are at most SEND_ROWS rows a token, so that most are
# touched. The same H100, three rows a round: batch 512 13.2 -> 14.0 us, 1024 20.1 -> 18.9; one row: 1024 18.6 -> 17.4,
# 1536 26.3 -> 24.1. In fp32 it gains nothing at any batch.
SEND_TOKENS = 6.0
SEND_ROWS = 4
TOP_COLUMNS = 128  # nodes of all trees' tops in one product: what a block's registers hold
MAX_TENSOR_TREES = 8  # each tree's bottom reads x and the output again


def path(layout: Layout, gpu: Gpu, batch: int, above: int = 0) -> Plan | None:
    """Any shape: enough warps walk one token that a lane keeps at most LANE_FLOATS of a row, 16 warps at most.

    ``above``: so many levels are done, and the call goes on from ``lists`` and y.
    """
    del gpu
    warps = 1
    while warps < 16 and layout.d > warps * WARP * LANE_FLOATS:
        warps *= 2
    block = max(PATH_BLOCK, warps * WARP)
    tokens = block // (warps * WARP)
    order = ("lists", "counts") if above else ("x", "x")  # unused pointers
    arguments: tuple[str | int, ...] = (
        "x", "w1", "w2", "y", *order, batch, layout.trees, layout.levels, *layout.biases("b1", "b2")
    )  # fmt: skip
    macros = layout.macros(FFF_WARPS=warps, FFF_ABOVE=above)
    return Plan("path", (Step("path.cu", "fff_path", macros, -(-batch // tokens), block, arguments),))


def deep(layout: Layout, gpu: Gpu, batch: int, top: int = 7) -> Plan | None:
    """One tree of many levels: the top as ``multi_plan.dense_form``, then ``path`` by subtree."""
    if layout.trees != 1 or layout.levels <= top or layout.d < MIN_TENSOR_D:
        return None
    columns = 256 if top == 8 else 128
    above = multi_plan.dense_form(replace(layout, levels=top), gpu, batch, columns=columns, groups=1, nodes=True)
    below = path(replace(layout, b2=False), gpu, batch, above=top)  # it is in y by then
    if above is None or below is None:
        return None
    workspace = {"lists": 4 * batch * 2**top, "counts": 4 * (2**top + 1)}
    return replace(above, strategy="deep", steps=(*above.steps, *below.steps), workspace=workspace)


def latency(
    layout: Layout, gpu: Gpu, batch: int, ahead: int | None = None, warps: int | None = None, shares: int | None = None
) -> Plan | None:  # fmt: skip
    """A block a token reads ``ahead`` levels at once: more for few tokens, fewer where tokens fill the chip.

    ``shares`` blocks each send for a part of all weights when they begin; 0: none does.
    """
    tokens = batch / gpu.multiprocessors
    if shares is None:
        touched = batch * SEND_ROWS >= layout.trees * (2**layout.levels - 1)
        shares = batch if layout.item == 2 and tokens >= SEND_TOKENS and touched else 0
    if ahead is not None:
        options = [(ahead, warps or max(4, 2**ahead))]
    else:
        first = READ_3[layout.item] if tokens > READ_15[layout.item] else (4, 16)
        if layout.item == 2 and READ_1_TOKENS[0] <= tokens < READ_1_TOKENS[1]:
            first = READ_1
        options = [first, (3, 16), (2, 16), (2, 32)]
    for levels_ahead, block_warps in options:
        per_row = block_warps >> levels_ahead
        if levels_ahead > layout.levels or layout.d > per_row * WARP * LANE_FLOATS:
            continue
        block = block_warps * WARP
        out = next((v for v in (1, 2, 4, 8) if v >= layout.vector or layout.d <= v * block), layout.vector)
        macros = layout.macros(FFF_AHEAD=levels_ahead, FFF_BLOCK=block, FFF_OUT_VECTOR=min(out, layout.vector))
        arguments: tuple[str | int, ...] = (
            "x", "w1", "w2", "y", batch, layout.trees, layout.levels, shares, *layout.biases("b1", "b2")
        )  # fmt: skip
        return Plan("latency", (Step("latency.cu", "fff_latency", macros, batch, block, arguments),))
    return None


def tensor(
    layout: Layout, gpu: Gpu, batch: int, bottom: int | None = None, tile: int = 64, stages: int = 4,
    tile_top: int = 64, stages_top: int = 4,
) -> Plan | None:  # fmt: skip
    """Few trees of at most 13 levels in 16-bit storage: logits of whole subtrees on tensor cores.

    The top levels of all trees are one kernel, of up to TOP_COLUMNS nodes; then the trees' bottoms follow one another.
    """
    if layout.dtype == "fp32" or not layout.aligned or layout.trees > MAX_TENSOR_TREES or layout.levels > 13:
        return None
    if layout.d < MIN_TENSOR_D or (layout.trees > 1 and layout.levels <= 6):
        return None
    if layout.levels <= 6:
        below, top = layout.levels, 0
    else:
        room = (TOP_COLUMNS // layout.trees).bit_length() - 1  # levels of the top of all trees
        below = bottom or max(5, layout.levels - room)
        top = layout.levels - below
    if not 0 <= top <= 7 or not 1 <= below <= 6 or layout.trees << top > TOP_COLUMNS:
        return None
    levels = {"FFF_TOP": top, "FFF_BOTTOM": below}
    columns, columns_top = max(32, 1 << below), -(-(layout.trees << top) // 32) * 32
    shared_bottom = stages * (tile + columns) * 128 + tile * (columns + 4) * 4
    shared_top = max(stages_top * (tile_top + columns_top) * 128, tile_top * (columns_top + 4) * 4)
    if max(shared_bottom, shared_top) + STATIC_SHARED > gpu.shared_bytes:
        return None
    trees = layout.trees
    steps = [
        Step(
            "tensor_bottom.cu", "fff_tensor_bottom",
            layout.macros(**levels, FFF_TILE=tile, FFF_STAGES=stages, FFF_ADD=int(tree > 0)),
            -(-batch // tile) + (2**top if top else 0), tile * 2,
            ("x", "w1", "w2", "y", "activations", "lists", "counts", batch, tree, *layout.biases("b1", "b2")),
            shared_bottom,
            overlap=gpu.early_start and top > 0,
        )
        for tree in range(trees)
    ]  # fmt: skip
    if top == 0:
        return Plan("tensor", tuple(steps), {"activations": 16, "lists": 16, "counts": 16})
    first = Step(
        "tensor_top.cu", "fff_tensor_top",
        layout.macros(**levels, FFF_TREES=trees, FFF_TILE=tile_top, FFF_STAGES=stages_top),
        -(-batch // tile_top), tile_top * 2,
        ("x", "w1", "activations", "lists", "counts", batch, *layout.biases("b1")), shared_top,
    )  # fmt: skip
    workspace = {
        "activations": trees * batch * 16, "lists": 4 * trees * batch * 2**top, "counts": 4 * trees * (2**top + 1)
    }  # fmt: skip
    return Plan("tensor", (first, *steps), workspace)


def shared(layout: Layout, gpu: Gpu, batch: int, bottom: int | None = None, block: int = 512) -> Plan | None:
    """One tree in fp32, the rows of a subtree in shared memory: as many levels as fit, at most 8 above them."""
    room = (gpu.shared_bytes - STATIC_SHARED) // (layout.d * 4)  # rows that fit
    if layout.dtype != "fp32" or not layout.aligned or layout.trees != 1 or layout.levels < 2:
        return None
    if layout.d > WARP * LANE_FLOATS:
        return None
    for below in (bottom,) if bottom else (5, 4, 3, 2, 1):
        top = layout.levels - below
        if not 1 <= top <= MAX_TOP or 2 * (2**below - 1) + top > room:
            continue
        held = max((h for h in range(1, top + 1) if 2**h - 1 <= room), default=0)
        macros = layout.macros(FFF_TOP=top, FFF_HELD=held, FFF_BOTTOM=below, FFF_BLOCK=block)
        first = Step(
            "shared_top.cu", "fff_shared_top", macros, gpu.multiprocessors, block,
            ("x", "w1", "activations", "lists", "counts", batch, *layout.biases("b1")), (2**held - 1) * layout.d * 4,
        )  # fmt: skip
        second = Step(
            "shared_bottom.cu", "fff_shared_bottom", macros, gpu.multiprocessors, block,
            ("x", "w1", "w2", "y", "activations", "lists", "counts", batch, *layout.biases("b1", "b2")),
            (2 * (2**below - 1) + top) * layout.d * 4, overlap=gpu.early_start,
        )  # fmt: skip
        workspace = {"activations": batch * 32, "lists": 4 * batch * 2**top, "counts": 4 * (2**top + 1)}
        return Plan("shared", (first, second), workspace)
    return None


STRATEGIES: dict[str, Callable[..., Plan | None]] = {
    "path": path,
    "latency": latency,
    "tensor": tensor,
    "shared": shared,
    "split": multi_plan.split,
    "dense_form": multi_plan.dense_form,
    "deep": deep,
    "masked": multi_plan.masked,
    "dense": multi_plan.dense,
}


def choose(layout: Layout, gpu: Gpu, batch: int) -> Plan:
    """The strategy expected to be fastest for this batch among those that can run it."""
    order = multi_plan.order(layout, gpu, batch) if layout.trees > 1 else one_tree(layout, gpu, batch)
    return next(plan for name in order if (plan := STRATEGIES[name](layout, gpu, batch)))  # path takes every shape


def one_tree(layout: Layout, gpu: Gpu, batch: int) -> tuple[str, ...]:
    """Strategies for one tree, the best first."""
    tokens = batch / gpu.multiprocessors  # a multiprocessor
    if tokens <= LATENCY_TOKENS[layout.item]:
        return "latency", "path"
    if tokens >= SUBTREE_TOKENS[layout.item]:
        return "tensor", "shared", "deep", "path"
    return ("path",)


def forced(name: str, layout: Layout, gpu: Gpu, batch: int, **tuning: int) -> Plan:
    """The plan of the strategy called ``name``; ``ValueError`` if it is unknown or cannot run this layout."""
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}; allowed: auto, {', '.join(STRATEGIES)}")
    plan = STRATEGIES[name](layout, gpu, batch, **tuning)
    if plan is None:
        raise ValueError(f"strategy {name!r} cannot run {layout}")
    return plan
