"""The Python API: shapes, strides, types, subclasses, values, against a float64 reference of the campaign's own."""

from __future__ import annotations

import json
import random
from typing import Any

from tools.hostile.case import Spec
from tools.hostile.server import KERNELS
from tools.hostile.stage import Stage

WEIGHT = 20
PRELOAD = KERNELS

CALLS = 6  # of one case: a child for each would cost more than the calls
KINDS = ["numpy"] * 3 + ["torch"] * 5 + ["bf16"] * 2 + ["mixed", "dlpack", "fp64", "fp16", "int"]
# what is done to one of the three tensors
TRICKS = [
    "transposed", "negative stride", "strided", "offset", "unaligned", "read-only", "expanded", "zero stride", "masked", "matrix",
    "subclass", "lying shape", "lying pointer", "requires grad", "conjugate", "negation", "sparse", "meta", "parameter", "wrong d",
    "wrong n", "1-d", "3-d", "0-d", "empty", "list", "none", "string", "big endian", "float64", "object", "numpy scalar", "same memory",
    "inference", "deepcopy", "fortran", "memmap", "nested", "quantised", "fake", "complex", "bool", "other numpy",
]  # fmt: skip
VALUES = ["normal"] * 6 + [
    "tiny",
    "huge",
    "denormal",
    "zeros",
    "nan",
    "inf",
    "overflow",
    "ties",
    "ones",
    "mixed scales",
]
COUNTS: list[Any] = [None] * 6 + [1, 2, 3, 64, 1024, 0, -1, 1025, 10**9, True, 1.0, "2", "numpy 2", 2**70, "none"]
TREES: list[Any] = [0, -1, 1.0, True, "1", None, 10**30, "numpy 1", 2]
NAMES = ["auto"] * 8 + ["fff_cpu", "fff_cpu", "dense_linear", "cmm_masked", "reference", "faulty_blas_1", "nothing", "", "fff_cuda",
                         "fff_triton", "cmm_gather_bmm", 7, None]  # fmt: skip


def draw(rng: random.Random) -> Spec:
    """A few calls."""
    return {"calls": [_call(rng) for _ in range(CALLS)]}


def _call(rng: random.Random) -> Spec:
    levels = rng.choice([1, 2, 3, 5, 8, 10])
    spec: Spec = {
        "seed": rng.randrange(2**31),
        "function": rng.choice(["fff"] * 4 + ["path"]),
        "kind": rng.choice(KINDS),
        "batch": rng.choice([0, 1, 1, 2, 3, 7, 16, 33, 64, 257]),
        "d": rng.choice([1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 129, 768]),
        "levels": levels,
        "trees": rng.choice([1, 1, 1, 2, 3, 7]),
        "values": rng.choice(VALUES),
    }
    if rng.random() < 0.55:
        spec["trick"], spec["on"] = rng.choice(TRICKS), rng.choice(["x", "w1", "w2", "all"])
    if rng.random() < 0.3:
        spec["threads"] = rng.choice(COUNTS)
    if rng.random() < 0.12:
        spec["wrong trees"] = rng.choice(TREES)
    if rng.random() < 0.3:
        spec["implementation"] = rng.choice(NAMES)
    if rng.random() < 0.1:
        spec["around"] = rng.choice(
            [
                "no grad",
                "inference mode",
                "thread",
                "threads",
                "fork",
                "vmap",
                "compile off",
                "autocast",
                "default dtype",
            ]
        )
    return spec


def play(spec: Spec, stage: Stage) -> None:
    """Make the calls in one child; each gives the right values or a ValueError of one line."""
    from tools.hostile import calls

    done = stage.child(lambda: calls.main(spec["calls"]), seconds=60)
    from tools.hostile.judges import judge

    for name, said in judge(done, {0}):
        stage.fault(name, f"{_last(spec, done.text)}: {said}")
    for line in done.text.splitlines():
        if line.startswith("{"):
            fault = json.loads(line)
            if "judge" in fault:
                stage.fault(fault["judge"], f"{json.dumps(spec['calls'][fault['call']])}: {fault['said']}")


def _last(spec: Spec, text: str) -> str:
    """The call at which it ended."""
    begun = [json.loads(line)["begun"] for line in text.splitlines() if line.startswith('{"begun"')]
    return json.dumps(spec["calls"][begun[-1]]) if begun else "before the first call"
