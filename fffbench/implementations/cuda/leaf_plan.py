"""Which kernels compute a leaf FFF of this shape, and with which macros, grids and workspace?

As ``plan.py`` does for the tree form, whose ``Layout``, ``Gpu``, ``Step`` and ``Plan`` are used. Pure arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

from fffbench.implementations.cuda.base import LANE_FLOATS, MIN_TENSOR_D, STATIC_SHARED, WARP, Gpu, Layout, Plan, Step
from fffbench.implementations.cuda.multi_plan import SPLIT_PIECES, team_walk, visits_sum

# As in leaf_sort.cu and leaf_tile.cu.
ROUTE_BLOCK = 256
SCAN_BLOCK = 1024
TILE, TILE_BLOCK, NEURONS, SLICE, COLUMNS = 32, 128, 32, 32, 64

# Tokens a leaf from which sorting pays: with four in a tile of 32 the blocks are read a quarter as often, and the three
# launches of the sort cost what some thousand tokens' blocks do.
TILE_TOKENS_PER_LEAF = 4
TILE_TOKENS_PER_MULTIPROCESSOR = 8
LISTED_BY_TEAMS = 4  # tokens a multiprocessor: 7 levels at batch 1024 take 24 us by tensor_top.cu, 30 by teams
# Measured on an H100 at d = 768, 4096 neurons (docs/notebook/kernels-cuda.md).
SPLIT_TOKENS = 2.0  # a multiprocessor
SPLIT_NEURONS = {2: 20000, 4: 2**17}  # of all tokens: 128 of 128 take 18 us, 19 by `wide`; 128 of 512 67 and 16 in bf16
TENSOR_TOKENS = 64  # fewer leave tiles empty
FEW_LEAVES = 16  # have few tiles: narrow ones, that more blocks work
NARROW = 64  # neurons of a leaf up to which one kernel for both products is faster than two
WIDE_TOKENS = 64  # twice as many a leaf fill large tiles


def token(layout: Layout, gpu: Gpu, batch: int) -> Plan | None:
    """Any shape: a block to a token, enough warps that a thread keeps at most LANE_FLOATS of y, 16 at most."""
    del gpu
    warps = 16 if layout.d > 8 * WARP * LANE_FLOATS else 8
    arguments: tuple[str | int, ...] = (
        "x", "w1", "w2", "y", batch, layout.trees, layout.levels, layout.leaf_width, *layout.biases("b1", "b2")
    )  # fmt: skip
    step = Step("leaf_token.cu", "fff_leaf_token", layout.macros(FFF_WARPS=warps), batch, warps * WARP, arguments)
    return Plan("token", (step,))


def tile(layout: Layout, gpu: Gpu, batch: int) -> Plan | None:
    """One tree: tokens sorted by leaf, 32 of a leaf at a time; as wide as shared memory holds the activations."""
    padded = -(-layout.leaf_width // NEURONS) * NEURONS
    shared = 4 * ((TILE + NEURONS) * (SLICE + 1) + TILE * (padded + 1) + NEURONS * COLUMNS)
    if layout.trees != 1 or shared + STATIC_SHARED > gpu.shared_bytes:
        return None
    leaves = 2**layout.levels
    macros = layout.macros()
    tiles = -(-batch // TILE) + min(leaves, batch)  # each leaf with tokens may have one that is not full
    steps = (
        Step(
            "leaf_sort.cu", "fff_leaf_route", macros, -(-batch * WARP // ROUTE_BLOCK), ROUTE_BLOCK,
            ("x", "w1", "leaf", "rank", "counts", batch, layout.levels, *layout.biases("b1")),
        ),
        Step("leaf_sort.cu", "fff_leaf_scan", macros, 1, SCAN_BLOCK, ("counts", "first_token", "first_tile", leaves)),
        Step(
            "leaf_sort.cu", "fff_leaf_place", macros, -(-batch // ROUTE_BLOCK), ROUTE_BLOCK,
            ("leaf", "rank", "first_token", "order", batch),
        ),
        Step(
            "leaf_tile.cu", "fff_leaf_tile", layout.macros(FFF_LEAF_WIDTH=layout.leaf_width), tiles, TILE_BLOCK,
            ("x", "w1", "w2", "y", "order", "first_token", "first_tile", leaves, *layout.biases("b1", "b2")), shared,
        ),
    )  # fmt: skip
    of_tokens = dict.fromkeys(("leaf", "rank", "order"), 4 * batch)
    of_leaves = dict.fromkeys(("counts", "first_token", "first_tile"), 4 * (leaves + 1))
    return Plan("tile", steps, of_tokens | of_leaves)


def tensor(layout: Layout, gpu: Gpu, batch: int, tokens: int | None = None, chunk: int | None = None) -> Plan | None:
    """One tree of 1 to 7 levels in 16-bit storage: routers and blocks on tensor cores, tokens listed by leaf."""
    if layout.dtype == "fp32" or not layout.aligned or layout.trees != 1 or not 1 <= layout.levels <= 7:
        return None
    if layout.d < MIN_TENSOR_D:
        return None
    width = layout.leaf_width
    chunk = chunk or (32 if width <= 32 else 64 if width <= 64 else 128)
    padded = -(-width // chunk) * chunk
    tokens = tokens or (128 if padded > 128 else 64)
    stage, act = (tokens + chunk) * 128, tokens * (padded + 8) * 2
    room = gpu.shared_bytes - STATIC_SHARED - act
    stages = min(4, room // stage)
    two = gpu.shared_bytes // 2 - STATIC_SHARED - act  # what each of two blocks may have, for 8 warps a multiprocessor
    if tokens == 64 and two // stage >= 2:
        stages = min(stages, two // stage)
    leaves = 2**layout.levels
    first = _listed(layout, gpu, batch)
    if stages < 2 or first is None:
        return None
    second = Step(
        "leaf_tensor.cu", "fff_leaf_tensor",
        layout.macros(
            FFF_TOP=layout.levels, FFF_LEAF_WIDTH=width, FFF_CHUNK=chunk, FFF_TILE=tokens, FFF_STAGES=stages
        ),
        -(-batch // tokens) + min(leaves, batch), tokens * 2,
        ("x", "w1", "w2", "y", "lists", "counts", batch, *layout.biases("b1", "b2")),
        stages * stage + act, overlap=gpu.early_start,
    )  # fmt: skip
    workspace = {"activations": batch * 16, "lists": 4 * batch * leaves, "counts": 4 * (leaves + 1)}
    return Plan("tensor", (first, second), workspace)


def split(layout: Layout, gpu: Gpu, batch: int) -> Plan | None:
    """Few tokens, any dtype and number of trees: a team of warps finds the leaf, then a warp takes a neuron."""
    if -(-layout.d // (layout.vector * WARP)) > SPLIT_PIECES or layout.levels < 1:
        return None
    count = layout.trees * layout.leaf_width
    arguments: tuple[str | int, ...] = ("x", "w1", "leaf", batch, layout.trees, layout.levels, *layout.biases("b1"))
    neurons = Step(
        "split_leaf.cu", "fff_split_neurons", layout.macros(FFF_WARPS=8), -(-batch * count // 8), 8 * WARP,
        ("x", "w1", "leaf", "visits", batch, layout.trees, layout.levels, layout.leaf_width, *layout.biases("b1")),
        overlap=gpu.early_start,
    )  # fmt: skip
    steps = (team_walk(layout, gpu, batch, "fff_split_leaf", arguments), neurons, visits_sum(layout, gpu, batch, count))
    return Plan("split", steps, {"leaf": 4 * batch * layout.trees, "visits": 8 * batch * count})


def wide(
    layout: Layout, gpu: Gpu, batch: int, tokens: int | None = None, chunk: int | None = None, out: int | None = None,
    stages: int | None = None,
) -> Plan | None:  # fmt: skip
    """As ``tensor``, each product a kernel of its own by wgmma, neurons and columns shared out over blocks."""
    if (
        not gpu.wgmma
        or layout.dtype == "fp32"
        or not layout.aligned
        or layout.trees != 1
        or not 1 <= layout.levels <= 7
    ):
        return None
    if layout.d < MIN_TENSOR_D:
        return None
    leaves = 2**layout.levels
    many = batch >= 2 * WIDE_TOKENS * leaves
    tokens = tokens or (128 if many else 64)
    chunk = chunk or (128 if many and layout.leaf_width > 64 else 64)
    out = out or (128 if many or leaves > FEW_LEAVES else 64)
    width = -(-layout.leaf_width // chunk) * chunk
    first = _listed(layout, gpu, batch)
    if first is None:
        return None
    tiles = -(-batch // tokens) + min(leaves, batch)
    macros = {"FFF_TOP": layout.levels, "FFF_LEAF_WIDTH": layout.leaf_width, "FFF_CHUNK": chunk, "FFF_TILE": tokens}
    steps = []
    first_product: tuple[str | int, ...] = ("x", "w1", "hidden", "lists", "counts", batch, *layout.biases("b1"))
    second_product: tuple[str | int, ...] = ("hidden", "w2", "y", "lists", "counts", batch, *layout.biases("b2"))
    for source, columns, blocks, arguments, more in (
        ("leaf_hidden", chunk, width // chunk, first_product, {}),
        ("leaf_output", out, -(-layout.d // out), second_product, {"FFF_OUT": out}),
    ):
        stage = (tokens + columns) * 128
        depth = stages or (4 if many else 8)
        steps.append(
            Step(
                f"{source}.cu", f"fff_{source}", layout.macros(**macros, **more, FFF_STAGES=depth), tiles * blocks,
                tokens * 2, arguments, depth * stage + 1024, overlap=gpu.early_start, only_90=True,
            )
        )  # fmt: skip
    workspace = {"activations": batch * 16, "lists": 4 * batch * leaves, "counts": 4 * (leaves + 1)}
    return Plan("wide", (first, *steps), workspace, matrices={"hidden": (batch, width)})


def _listed(layout: Layout, gpu: Gpu, batch: int) -> Step | None:
    """Tokens listed by leaf: the routers are the top of a tree that ends there; few tokens walk by themselves."""
    if batch <= LISTED_BY_TEAMS * gpu.multiprocessors and layout.d <= SPLIT_PIECES * layout.vector * WARP:
        listing: tuple[str | int, ...] = ("x", "w1", "lists", "counts", batch, layout.levels, *layout.biases("b1"))
        return team_walk(layout, gpu, batch, "fff_split_list", listing)
    stages, tile = 4, 64
    columns = max(32, 2**layout.levels)
    shared = max(stages * (tile + columns) * 128, tile * (columns + 4) * 4)
    if shared + STATIC_SHARED > gpu.shared_bytes:
        return None
    macros = layout.macros(FFF_TOP=layout.levels, FFF_BOTTOM=0, FFF_TREES=1, FFF_TILE=tile, FFF_STAGES=stages)
    arguments: tuple[str | int, ...] = ("x", "w1", "activations", "lists", "counts", batch, *layout.biases("b1"))
    return Step("tensor_top.cu", "fff_tensor_top", macros, -(-batch // tile), tile * 2, arguments, shared)


STRATEGIES: dict[str, Callable[..., Plan | None]] = {
    "token": token,
    "tile": tile,
    "tensor": tensor,
    "wide": wide,
    "split": split,
}


def order(layout: Layout, gpu: Gpu, batch: int) -> tuple[str, ...]:
    """Strategies, the one expected to be fastest first; the last takes every shape."""
    if (
        batch <= SPLIT_TOKENS * gpu.multiprocessors
        and batch * layout.trees * layout.leaf_width <= SPLIT_NEURONS[layout.item]
    ):
        return "split", "token"
    least = max(TILE_TOKENS_PER_LEAF * 2**layout.levels, TILE_TOKENS_PER_MULTIPROCESSOR * gpu.multiprocessors)
    rest = ("tile", "token") if batch >= least else ("token",)
    if layout.item == 4 or batch < TENSOR_TOKENS:
        return rest
    return ("wide", "tensor", *rest) if layout.leaf_width > NARROW else ("tensor", *rest)


def choose(layout: Layout, gpu: Gpu, batch: int) -> Plan:
    """The strategy expected to be fastest for this batch among those that can run it."""
    names = order(layout, gpu, batch)
    return next(plan for name in names if (plan := STRATEGIES[name](layout, gpu, batch)))  # token takes every shape


def forced(name: str, layout: Layout, gpu: Gpu, batch: int, **tuning: int) -> Plan:
    """The plan of the strategy called ``name``; ``ValueError`` if it is unknown or cannot run this layout."""
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r} for leaf blocks; allowed: auto, {', '.join(STRATEGIES)}")
    try:
        plan = STRATEGIES[name](layout, gpu, batch, **tuning)
    except TypeError as error:
        raise ValueError(f"leaf strategy {name!r} has no such thing to tune: {', '.join(tuning)}") from error
    if plan is None:
        raise ValueError(f"strategy {name!r} cannot run {layout}")
    return plan
