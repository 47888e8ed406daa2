"""Do the Python entry points compute, and say what is wrong when they cannot?"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import erf

import fffbench

pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
torch = pytest.importorskip("torch")


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((rows, 10), dtype=np.float32) for rows in (6, 14, 14))


def reference(x, w1, w2, trees=2, levels=3):
    y = np.zeros(x.shape)
    rows = np.zeros((len(x), trees * levels), np.int32)
    for token in range(len(x)):
        for tree in range(trees):
            node = 0
            for level in range(levels):
                row = tree * (2**levels - 1) + node
                z = x[token].astype(np.float64) @ w1[row]
                y[token] += z * 0.5 * (1 + erf(z / 2**0.5)) * w2[row]
                rows[token, tree * levels + level] = row
                node = 2 * node + 1 + (z > 0)
    return y, rows


class Exporter:
    """A tensor that speaks nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **kwargs):
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, Exporter])
@pytest.mark.parametrize("implementation", ["auto", "fff_cpu"])
def test_fff_takes_numpy_torch_and_dlpack(layer, kind, implementation):
    y = fffbench.fff(*(kind(a) for a in layer), trees=2, implementation=implementation, threads=2)
    assert isinstance(y, np.ndarray if kind is np.asarray else torch.Tensor)
    np.testing.assert_allclose(y, reference(*layer)[0], 1e-5, 1e-5)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, Exporter])
def test_path_names_the_visited_rows(layer, kind):
    rows = fffbench.path(kind(layer[0]), kind(layer[1]), trees=2)
    assert (np.asarray(rows) == reference(*layer)[1]).all()


def test_bf16_tensors_give_bf16(layer):
    x, w1, w2 = (torch.from_numpy(a).bfloat16() for a in layer)
    y = fffbench.fff(x, w1, w2, trees=2)
    assert y.dtype is torch.bfloat16
    want = reference(*(a.float().numpy() for a in (x, w1, w2)))[0]
    np.testing.assert_allclose(y.float().numpy(), want, 2**-8, 1e-2)
    assert (fffbench.path(x, w1, trees=2).numpy() == reference(*(a.float().numpy() for a in (x, w1, w2)))[1]).all()


def test_an_empty_batch_gives_an_empty_result(layer):
    x, w1, w2 = layer
    assert fffbench.fff(x[:0], w1, w2, trees=2).shape == (0, 10)
    assert fffbench.path(torch.from_numpy(x[:0]), torch.from_numpy(w1), trees=2).shape == (0, 6)


def test_another_implementation_is_found_through_the_registry(layer):
    tensors = [torch.from_numpy(a) for a in layer]
    with pytest.raises(ValueError, match=r"unknown implementation 'nonsense'; the nearest of the \d+ allowed: "):
        fffbench.fff(*tensors, trees=2, implementation="nonsense")
    with pytest.raises(ValueError, match="takes torch tensors"):
        fffbench.fff(*layer, trees=2, implementation="nonsense")


def change(name, how):
    return lambda x, w1, w2: tuple(how(a) if key == name else a for key, a in (("x", x), ("w1", w1), ("w2", w2)))


WRONG = [
    (change("x", lambda a: a[0, :1].reshape(())), r"x must have shape \(\.\.\., d\)"),
    (change("x", lambda a: a[:, :0]), r"d at least 1"),
    (change("w1", lambda a: a[:, :9]), r"w1 must have shape \(n, 10\)"),
    (change("w2", lambda a: a[0]), r"w2 must have shape \(n, 10\)"),
    (change("w2", lambda a: a[:7]), "w1 and w2 must have the same shape"),
    (lambda x, w1, w2: (x, w1[:12], w2[:12]), "12 rows are no 2 complete trees"),
    (change("x", lambda a: a.T.copy().T if isinstance(a, np.ndarray) else a.T.contiguous().T), "x must be contiguous"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_wrong_shapes_and_layouts_raise_value_error(layer, wrong, message, kind):
    with pytest.raises(ValueError, match=message):
        fffbench.fff(*wrong(*(kind(a) for a in layer)), trees=2)


def test_wrong_dtypes_raise_value_error(layer):
    x, w1, w2 = (torch.from_numpy(a) for a in layer)
    with pytest.raises(ValueError, match="must have one dtype"):
        fffbench.fff(x.double(), w1, w2, trees=2)
    with pytest.raises(ValueError, match=r"of a floating-point type; they are torch\.int32"):
        fffbench.fff(x.int(), w1.int(), w2.int(), trees=2)
    with pytest.raises(ValueError, match="x must be float32; it is float64"):
        fffbench.fff(layer[0].astype(float), *layer[1:], trees=2)


def test_wrong_devices_and_kinds_raise_value_error(layer):
    x, w1, w2 = (torch.from_numpy(a) for a in layer)
    with pytest.raises(ValueError, match="must be on one device"):
        fffbench.fff(x.to("meta"), w1, w2, trees=2)
    assert fffbench.fff(*(a.to("meta") for a in (x, w1, w2)), trees=2).shape == x.shape
    with pytest.raises(ValueError, match="support DLPack; it is list"):
        fffbench.fff([[1.0]], w1, w2, trees=2)
    with pytest.raises(ValueError, match="x must be contiguous"):
        fffbench.fff(x.to_sparse(), w1, w2, trees=2)


@pytest.mark.parametrize("trees", [0, -1, 2.0, "2", True])
def test_a_wrong_number_of_trees_raises_value_error(layer, trees):
    with pytest.raises(ValueError, match=r"trees must be a whole number"):
        fffbench.fff(*layer, trees=trees)


@pytest.mark.parametrize("threads", [0, -1, 1.5, 5000])
def test_a_wrong_number_of_threads_raises_value_error(layer, threads):
    with pytest.raises(ValueError, match="threads must be a whole number"):
        fffbench.fff(*layer, trees=2, threads=threads)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("shape", [(10,), (2, 3, 10), (0, 2, 10), (1, 1, 1, 10)])
def test_x_has_any_leading_shape(layer, kind, shape):
    x = np.random.default_rng(2).standard_normal(shape, dtype=np.float32)
    w1, w2 = layer[1:]
    y = fffbench.fff(kind(x), kind(w1), kind(w2), trees=2)
    assert tuple(y.shape) == shape
    want, rows = reference(x.reshape(-1, 10), w1, w2)
    np.testing.assert_allclose(np.asarray(y).reshape(-1, 10), want, 1e-5, 1e-5)
    got = fffbench.path(kind(x), kind(w1), trees=2)
    assert tuple(got.shape) == (*shape[:-1], 6)
    assert (np.asarray(got).reshape(-1, 6) == rows).all()


def test_a_named_implementation_refuses_gradients_that_it_does_not_have(layer):
    x, w1, w2 = (torch.from_numpy(a) for a in layer)
    w1.requires_grad_()
    with pytest.raises(ValueError, match=r"no implementation|has no gradient"):
        fffbench.fff(x, w1, w2, trees=2, implementation="fff_triton")
    fffbench.fff(x, w1, w2, trees=2).sum().backward()
    assert w1.grad.shape == w1.shape


def test_importing_the_package_loads_no_torch_and_numpy_calls_need_none():
    script = """
import sys, fffbench
assert "torch" not in sys.modules and "numpy" not in sys.modules
import numpy as np
a = np.ones((3, 4), np.float32)
assert fffbench.fff(a, a, a).shape == (3, 4)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
