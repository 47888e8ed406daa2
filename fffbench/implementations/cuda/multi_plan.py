"""Which kernels compute a tree FFF of several trees?

As in ``plan.py``. Few tokens: a warp to a tree (``split``). Many: the dense layer's products, with each token's walk
between them, either in registers on the way out of the first (``dense_form``, compute capability 9.0) or in place
afterwards (``masked``, any device and dtype). Where every neuron is used, the layer is dense (``dense``).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from fffbench.implementations.cuda.base import (
    MIN_TENSOR_D,
    STATIC_SHARED,
    WARP,
    Boxes,
    Gpu,
    Layout,
    Packed,
    Plan,
    Product,
    Step,
)

SLICE = 64  # as in dense_form.cu: elements of a row in a stage
SPLIT_PIECES = 16  # vectors of a row that a lane of split_walk.cu keeps
READ_AHEAD = ((4, 3), (3, 6), (2, 12))  # levels, and up to how many walks a multiprocessor
# Nodes in the slots 0 of the threads that share a tree: those above their subtrees. Of 8 threads, in two tiles, either
# four have the root in the last, whose second copy gets no activation.
ABOVE = {2: (0, -1), 4: (0, 1, 2, -1), 8: (1, 3, 4, 0, 2, 5, 6, 0)}
# Where one strategy passes another, measured on an H100 at d = 768 over the twelve shapes of UltraFastBERT and batches
# 1, 128, 1024 and 16384 (tools/cuda/family.py, docs/notebook/kernels-cuda.md). Spared: neurons over those used.
SPLIT_VISITS = 4.5  # 16-bit: visited rows of a call over the layer's rows, up to which `split` beats `dense_form` ...
SPLIT_SPARED = 3.0  # ... if as many neurons are spared: 512x3 at batch 1 is level
SPLIT_VISITS_AT_MOST = 12.0  # the same where no tree fits `dense_form`: 4x10 at 1024 29 us, as a masked product 36
TENSOR_TOKENS = 24.0  # a multiprocessor, from which few trees' bottoms pay one by one, as for one tree
TENSOR_TREES = 4  # 8x9 at 16384
MASKED_SPARED = 57.0  # `path` is faster than the masked product from here on: 8x9 at 16384 is level
# fp32: batches up to which a layer is walked if it spares so many neurons, else it is masked
SPARED_FP32 = ((16, 1.4), (256, 6.5), (2**62, 8.3))
SPLIT_TOKENS_FP32 = 2048  # `path` is faster at 16384, by a third
MULTIPLE = 64  # of padded neurons, as the dense layers have it
MAX_STAGES = 8
MASKED_NEURONS = 2**16  # of a layer whose activations for a batch are kept whole; a wider one would take gigabytes


def order(layout: Layout, gpu: Gpu, batch: int) -> tuple[str, ...]:
    """Strategies for several trees, the one expected to be fastest first; the last takes every shape."""
    neurons, used = layout.trees * (2**layout.levels - 1), layout.trees * layout.levels
    visits, spared = batch * used, neurons / used
    if layout.levels == 1:
        return "dense", *(("masked",) if layout.item == 4 else ("dense_form", "masked")), "split", "path"
    if layout.item == 4:
        least = next(ratio for tokens, ratio in SPARED_FP32 if batch <= tokens)
        if spared < least:
            return "masked", "split", "path"
        return ("split", "path") if batch <= SPLIT_TOKENS_FP32 else ("path",)
    if visits <= SPLIT_VISITS * neurons and spared >= SPLIT_SPARED:
        return "split", "path"
    rest = ("masked", "path") if spared < MASKED_SPARED else ("path",)
    if batch >= TENSOR_TOKENS * gpu.multiprocessors and layout.trees <= TENSOR_TREES:
        return "tensor", "dense_form", *rest
    if visits <= SPLIT_VISITS_AT_MOST * neurons:
        rest = ("split", *rest)
    return "dense_form", *rest


def split(
    layout: Layout, gpu: Gpu, batch: int, ahead: int | None = None, team: int | None = None, warps: int | None = None,
    out: int | None = None,
) -> Plan | None:  # fmt: skip
    """A few warps to a token's tree, then a sum over the visited rows."""
    if -(-layout.d // (layout.vector * WARP)) > SPLIT_PIECES:
        return None
    used = layout.trees * layout.levels
    arguments: tuple[str | int, ...] = ("x", "w1", "visits", batch, layout.trees, layout.levels, *layout.biases("b1"))
    walk = team_walk(layout, gpu, batch, "fff_split_walk", arguments, ahead, team)
    total = visits_sum(layout, gpu, batch, used, warps, out)
    return Plan("split", (walk, total), {"visits": 8 * batch * used})


def team_walk(
    layout: Layout, gpu: Gpu, batch: int, entry: str, arguments: tuple[str | int, ...], ahead: int | None = None,
    team: int | None = None,
) -> Step:  # fmt: skip
    """Every walk by a team of warps of its own: the more walks, the fewer levels one reads ahead (``READ_AHEAD``)."""
    walks = batch * layout.trees
    if ahead is None:
        fitting = (a for a, least in READ_AHEAD if walks <= least * gpu.multiprocessors)
        ahead = max(1, min(next(fitting, 1), layout.levels))
    team = team or 2**ahead - 1
    of_block = 4 if team == 1 else 1
    macros = layout.macros(FFF_AHEAD=ahead, FFF_TEAM=team, FFF_WALKS=of_block)
    return Step("split_walk.cu", entry, macros, -(-walks // of_block), team * of_block * WARP, arguments)


def visits_sum(
    layout: Layout, gpu: Gpu, batch: int, count: int, warps: int | None = None, out: int | None = None
) -> Step:
    """The sum over ``count`` visited rows of each token; few tokens: in narrow pieces, so that more blocks read."""
    macros: dict[str, int] = {}
    leaves: tuple[str | int, ...] = ()
    if layout.b2 and layout.leaf_width:  # a row for each leaf that a token reaches
        macros, leaves = {"FFF_B2": 2}, ("leaf", layout.trees, 2**layout.levels)
    whole = batch * -(-layout.d // (layout.vector * WARP)) >= gpu.multiprocessors
    out = out or (layout.vector if whole else min(2 if layout.item == 2 else 1, layout.vector))
    warps = warps or max(1, min(8 if whole else 32, -(-count // 4)))
    return Step(
        "split_sum.cu", "fff_split_sum", layout.macros(FFF_OUT_VECTOR=out, FFF_WARPS=warps, **macros),
        batch * -(-layout.d // (out * WARP)), warps * WARP,
        ("w2", "visits", "y", count, *leaves, *layout.biases("b2")), overlap=gpu.early_start,
    )  # fmt: skip


def dense(layout: Layout, gpu: Gpu, batch: int) -> Plan | None:
    """Trees of one level: every neuron is on every path, so the layer is a dense one."""
    del gpu
    if layout.item == 2 and (layout.d < MIN_TENSOR_D or layout.trees < MULTIPLE):
        return None  # few neurons: the tanh form of the library's GELU would show
    if layout.activation not in ("gelu", "gelu_tanh")[: 1 if layout.item == 4 else 2]:
        return None  # what the library fuses in 16 bits, or does in place in fp32
    if layout.levels != 1 or not layout.aligned or not layout.exact_products or layout.trees > MASKED_NEURONS:
        return None
    width = padded(layout.trees)
    return Plan("dense", padded_products(layout, gelu=True), matrices={"hidden": (batch, width)}, packed=pad(layout))


def masked(layout: Layout, gpu: Gpu, batch: int) -> Plan | None:
    """The logits of all neurons by one product, then each token's walk in place, then the other product."""
    neurons = layout.trees * (2**layout.levels - 1)
    width = padded(neurons)
    shared = 2 * width * layout.item
    if (layout.item == 2 and layout.d < MIN_TENSOR_D) or not layout.exact_products:
        return None
    if not layout.aligned or shared + STATIC_SHARED > gpu.shared_bytes or layout.levels > 16:
        return None
    walk = Step(
        "masked.cu", "fff_masked", replace(layout, b1=False, b2=False).macros(), batch, 256,
        ("hidden", width, layout.trees, layout.levels), shared,
    )  # fmt: skip
    first, second = padded_products(layout)
    return Plan("masked", (first, walk, second), matrices={"hidden": (batch, width)}, packed=pad(layout))


def padded_products(layout: Layout, *, gelu: bool = False) -> tuple[Product, Product]:
    """Those of the dense layer. They add the biases before they round: a turn is by the sum of both."""
    b1, b2 = ("b1_padded" if layout.b1 else ""), ("b2" if layout.b2 else "")
    first = Product("x", "w1_padded", "hidden", transposed=True, gelu=gelu, bias=b1)
    return first, Product("hidden", "w2_padded", "y", bias=b2)


def padded(neurons: int) -> int:
    """Neurons of a product that holds ``neurons``."""
    return -(-neurons // MULTIPLE) * MULTIPLE


def pad(layout: Layout) -> dict[str, Packed]:
    """Both matrices with rows of zeros up to a multiple, and b1 likewise."""
    neurons = layout.trees * (2**layout.levels - 1)
    rows = (*range(neurons), *(-1,) * (padded(neurons) - neurons))
    return {f"{name}_padded": Packed(name, rows) for name in ("w1", "w2", *layout.biases("b1"))}


def dense_form(
    layout: Layout, gpu: Gpu, batch: int, columns: int | None = None, groups: int | None = None,
    blocks: int = 1, *, nodes: bool = False
) -> Plan | None:  # fmt: skip
    """Both products of the dense layer, the walk in the registers of the first; 16-bit storage, at most 9 levels.

    ``blocks`` share a multiprocessor. ``nodes``: these are the top levels of one tree, and lists of the tokens by where
    they leave them are wanted, too.
    """
    if not gpu.wgmma or layout.dtype == "fp32" or not layout.aligned or layout.d < MIN_TENSOR_D:
        return None
    if layout.trees * (2**layout.levels - 1) > MASKED_NEURONS:
        return None
    choices = ((columns, groups or 2),) if columns else tiles_by_size(layout, gpu, batch)
    for width, warpgroups in choices:
        slots = slots_of(layout, width)
        if slots is None:
            continue
        tile = 64 * warpgroups
        column_tiles, token_tiles = len(slots) // width, -(-batch // tile)
        stage = (tile + width) * SLICE * 2
        slices = -(-layout.d // SLICE)
        stages = min(MAX_STAGES, slices + 1, (gpu.shared_bytes // blocks - STATIC_SHARED - 1024) // stage)
        if stages < 2:
            continue
        walk = Step(
            "dense_form.cu", "fff_dense_form",
            layout.macros(
                FFF_LEVELS=layout.levels, FFF_COLUMNS=width, FFF_GROUPS=warpgroups, FFF_STAGES=stages,
                FFF_NODES=int(nodes),
            ),
            min(blocks * gpu.multiprocessors, token_tiles * column_tiles), 128 * (warpgroups + 1),
            (
                Boxes("x", batch, layout.d, tile), Boxes("w1_slots", len(slots), layout.d, width), "hidden",
                *(("lists", "counts") if nodes else ("hidden", "hidden")), batch, token_tiles, column_tiles,
                *(("b1_slots",) if layout.b1 else ()),
            ),
            stages * stage + 1024, only_90=True,
        )  # fmt: skip
        packed = {
            "w1_slots": Packed("w1", slots),
            "w2_slots": Packed("w2", tuple(slots[i] for i in stored_order(len(slots), width))),
        }
        packed |= {"b1_slots": Packed("b1", slots)} if layout.b1 else {}
        output = Product("hidden", "w2_slots", "y", bias="b2" if layout.b2 else "")
        return Plan("dense_form", (walk, output), matrices={"hidden": (batch, len(slots))}, packed=packed)
    return None


def tiles_by_size(layout: Layout, gpu: Gpu, batch: int) -> tuple[tuple[int, int], ...]:
    """Columns of a tile and its warpgroups, the best first: the largest tile of which all multiprocessors get one."""
    neurons = layout.trees * (2**layout.levels - 1)
    sizes = ((256, 2), (128, 2), (64, 1), (128, 1), (256, 1))
    if -(-batch // 128) * -(-neurons // 128) < gpu.multiprocessors:
        small = -(-batch // 64) * -(-neurons // 64)
        return sizes[2:] if small <= gpu.multiprocessors else (sizes[3], sizes[2], sizes[4])
    # two rounds of large tiles, the second nearly empty, take longer than three of half the size
    large = -(-batch // 128) * -(-neurons // 256)
    return (
        sizes if large <= gpu.multiprocessors or large > 2 * gpu.multiprocessors else (sizes[1], sizes[0], *sizes[2:])
    )


@lru_cache(maxsize=64)
def slots_of(layout: Layout, columns: int) -> tuple[int, ...] | None:
    """Which row of W1 lies in each column of the packed matrix, -1 none; None if a tree does not fit a tile.

    Thread q of a quad holds columns ``8 j + 2 q`` and the next, its slots ``2 j`` and ``2 j + 1``.
    """
    nodes, slots = (1 << layout.levels) - 1, columns // 4
    if nodes <= slots:
        each = slots // nodes  # trees of a thread
        threads = -(-layout.trees // each)

        def content(thread: int, slot: int) -> int:
            tree = thread * each + slot // nodes
            return tree * nodes + slot % nodes if slot < each * nodes and tree < layout.trees else -1
    else:
        cell = slots.bit_length() - 1  # levels of a thread's subtree
        share = 1 << (layout.levels - cell)  # threads of a tree: 2 or 4 of a tile, or 8 of two tiles
        if share > 8:
            return None
        threads = layout.trees * share

        def content(thread: int, slot: int) -> int:
            tree, part = divmod(thread, share)
            if tree >= layout.trees:
                return -1
            if slot == 0:
                above = ABOVE[share][part]
                return tree * nodes + above if above >= 0 else -1
            level = slot.bit_length() - 1  # of the subtree, whose nodes are slots 1 on
            return tree * nodes + ((share + part) << level) - 1 + slot - (1 << level)

    tiles = -(-threads // 4)
    packed = []
    for tile in range(tiles):
        for column in range(columns):
            slot = column // 8 * 2 + column % 2
            packed.append(content(tile * 4 + column % 8 // 2, slot))
    return tuple(packed)


@lru_cache(maxsize=64)
def stored_order(width: int, columns: int) -> tuple[int, ...]:
    """Which column of the packed W1 each column of the activations is: 16 bytes of each thread of a quad in turn."""
    order = []
    for place in range(width):
        tile, within = divmod(place, columns)
        slot = within // 32 * 8 + within % 8
        thread = within % 32 // 8
        order.append(tile * columns + slot // 2 * 8 + thread * 2 + slot % 2)
    return tuple(order)
