"""Do the kernels stay within their buffers and barriers? A small run of each, for ``compute-sanitizer``.

``compute-sanitizer --tool memcheck python -m tools.cuda.sanitize`` (also racecheck, initcheck, synccheck).
"""

from __future__ import annotations

from itertools import product

import torch

from fffbench.implementations import dense_cuda_naive, fff_cuda
from fffbench.implementations.registry import Weights
from fffbench.plan.workload import Shape, Workload
from tools.cuda.tune import data

TREES = (Shape.tree(328, 1, 9), Shape.tree(768, 1, 12))
LEAVES = (Shape.leaf(328, 1, 3, 33), Shape.leaf(77, 1, 2, 5), Shape.leaf(768, 1, 7, 32))

FEW_TREES, MANY_TREES = (Shape.tree(328, 2, 9),), (Shape.tree(328, 9, 3), Shape.tree(264, 3, 8), Shape.tree(264, 1, 9))

for dtype, strategy, shapes in (
    ("bf16", "tensor", (*FEW_TREES, *LEAVES[:1])),
    ("bf16", "dense_form", MANY_TREES),
    ("fp16", "deep", TREES[:1]),
    ("bf16", "split", (*MANY_TREES, *LEAVES)),
    ("fp32", "masked", MANY_TREES),
    ("bf16", "wide", LEAVES[::2]),
    ("fp32", "token", LEAVES),
    ("fp32", "tile", LEAVES),
    ("bf16", "tile", LEAVES),
    ("bf16", "tensor", TREES),
    ("fp32", "shared", TREES),
    ("bf16", "latency", TREES),
    ("fp32", "path", TREES),
    ("fp32", "dense_cuda_naive", (Shape.dense(77, 65),)),
):
    for shape, biases in product(shapes, (False, True)):
        if biases and strategy == "dense_cuda_naive":
            continue
        x, weights = data(shape, 333, dtype, 0)
        y = torch.empty_like(x)
        workload = Workload(shape, 333, dtype, device="cuda")
        if strategy == "dense_cuda_naive":
            layer = dense_cuda_naive.prepare(weights, workload)
        else:
            tuning = {"shares": 333} if strategy == "latency" else {}  # as at large batches: all weights sent for
            if biases:
                first = weights.w1[:, 0].contiguous()
                rows = shape.trees << shape.levels if shape.leaf_width else 1
                second = x[0].repeat(rows, 1) if shape.leaf_width else x[0].clone()
                weights = Weights(weights.w1, weights.w2, b1=first, b2=second)
            layer = fff_cuda.prepare(weights, workload, strategy, **tuning)
        run = layer.bind(x, y)
        run()
        run()
        torch.cuda.synchronize()
        print(strategy, dtype, shape.id, "with biases" if biases else "without biases", "ran", flush=True)
