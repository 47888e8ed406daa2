"""A top-1 mixture of experts: is its float64 reference right, and is a wrong mixture found out?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from fffbench.errors import UserError
from fffbench.implementations import cmm_moe_grouped
from fffbench.measure import check
from fffbench.measure.conformance import conform
from fffbench.plan.workload import Shape, Workload
from fffbench.problems import parse_problem
from fffbench.problems.judging import Asked
from fffbench.problems.moe import Moe

SHAPE = Moe.of(64, 16, 8)


def plain(x: np.ndarray, router: np.ndarray, w1: np.ndarray, w2: np.ndarray, width: int) -> np.ndarray:
    """Token by token, in float64."""
    out = np.zeros_like(x)
    for t, token in enumerate(x):
        expert = int(np.argmax(router @ token))
        for row in range(expert * width, (expert + 1) * width):
            z = float(w1[row] @ token)
            out[t] += 0.5 * z * (1 + math.erf(z / 2**0.5)) * w2[row]
    return out


@pytest.mark.parametrize("shape", list(Moe.edges()), ids=lambda s: s.id)
def test_the_reference_is_the_plain_loop(shape: Moe) -> None:
    torch = pytest.importorskip("torch")
    data = shape.draw("uniform", 3, 40)
    weights = {name: torch.from_numpy(array) for name, array in data.weights.items()}
    found = shape.reference(torch.from_numpy(data.x), weights, Asked("fp32", 10, chunk_bytes=2**12))
    wide = [array.astype(np.float64) for array in (data.x, *data.weights.values())]
    np.testing.assert_allclose(found.y.numpy(), plain(*wide, shape.leaf_width), rtol=1e-9, atol=1e-9)
    assert found.index.tolist() == list(range(40))
    assert 0 < found.distinct_rows <= shape.rows


def test_experts_whose_scores_are_equal_are_both_right() -> None:
    torch = pytest.importorskip("torch")
    data = SHAPE.draw("uniform", 0, 30)
    weights = {name: torch.from_numpy(array) for name, array in data.weights.items()}
    weights["router"][5] = weights["router"][3]
    x = torch.from_numpy(data.x)
    reference = SHAPE.reference(x, weights, Asked("fp32", 30))
    tied = (x @ weights["router"].T).argmax(1) == 3
    assert tied.any()
    assert sorted(reference.alternatives) == torch.nonzero(tied).flatten().tolist()
    weights["router"][3] -= (
        1.0 * x[tied][0] / x[tied][0].norm() ** 2
    )  # now the other one is chosen by the first of them
    other = SHAPE.reference(x, weights, Asked("fp32", 30))
    token = int(torch.nonzero(tied)[0])
    torch.testing.assert_close(other.y[token], reference.alternatives[token].y[0])
    torch.testing.assert_close(other.std[token], reference.alternatives[token].std[0])


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_grouped_product_passes_and_a_wrong_expert_fails(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    workload = Workload(SHAPE, 200, dtype)
    cast = torch.float32 if dtype == "fp32" else torch.bfloat16
    data = workload.draw(200)
    weights = {name: torch.from_numpy(array).to(cast) for name, array in data.weights.items()}
    x = torch.from_numpy(data.x).to(cast)
    expected = check.make_reference(workload, "cmm", x, weights)
    layer = cmm_moe_grouped.prepare(type("W", (), weights), workload)  # type: ignore[arg-type]
    assert check.compare(expected, layer.forward(x)).failure is None
    wrong = cmm_moe_grouped.prepare(type("W", (), weights | {"router": weights["router"].flip(0)}), workload)  # type: ignore[arg-type]
    assert check.compare(expected, wrong.forward(x)).failure is not None


def test_it_stands_beside_the_leaf_form_of_its_size() -> None:
    leaf, mixture = Shape.leaf(768, 1, 7, 32), parse_problem("moe-d768-n4096-e128")
    assert mixture.beside(leaf)
    assert not mixture.beside(Shape.leaf(768, 1, 6, 64))
    assert not leaf.beside(Shape.leaf(768, 1, 6, 64))
    assert leaf.beside(leaf)
    assert Shape.dense(768, 4096).replaces(mixture)
    assert mixture.seen_by("dense") == Shape.dense(768, 4096)


@pytest.mark.parametrize("text", ["moe-d8-n8-e1", "moe-d8-n9-e2", "moe-d8-n8-e0"])
def test_what_is_no_mixture_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="2 or more"):
        parse_problem(text)


def test_a_token_that_goes_to_another_expert_is_judged_by_the_rounding_of_that_expert() -> None:
    work = Workload(SHAPE, 257, "bf16", "uniform", 2, "cpu", 23)
    verdict = conform("cmm_moe_grouped", work)
    assert isinstance(verdict, str) or verdict.failure is None
