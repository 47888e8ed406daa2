"""Whatever is passed as a tensor: it is computed as what it is, or refused in a sentence; nothing else."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import fffbench

pytest.importorskip("fffbench._cpu", reason="the C++ kernels are not built")
torch = pytest.importorskip("torch")


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((rows, 10), dtype=np.float32) for rows in (6, 14, 14))


def tensors(layer):
    return tuple(torch.from_numpy(a) for a in layer)


def test_an_array_of_negative_stride_beside_tensors_is_refused_and_ends_no_process():
    script = """
import numpy as np, torch, fffbench
x, w = np.ones((4, 10), np.float32), torch.ones(7, 10)
class Exporter:
    def __dlpack__(self, **_): return x[::-1].__dlpack__()
    def __dlpack_device__(self): return x.__dlpack_device__()
for wrong in (x[::-1], Exporter()):
    try:
        fffbench.fff(wrong, w, w)
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("must be contiguous") == 2


class Liar(np.ndarray):
    """Says that it has other rows, somewhere else."""

    @property
    def shape(self):
        return (1000, 10)

    @property
    def __array_interface__(self):
        return {"data": (8, False), "shape": (1000, 10), "typestr": "<f4", "version": 3}


def test_an_array_that_lies_about_its_shape_and_address_is_read_as_what_it_is(layer):
    script = """
import numpy as np, sys
sys.path.insert(0, sys.argv[1])
from test_foreign_tensors import Liar
import fffbench
x, w1, w2 = (np.random.default_rng(0).standard_normal((n, 10), dtype=np.float32) for n in (6, 14, 14))
y = fffbench.fff(x.view(Liar), w1.view(Liar), w2, trees=2)
assert y.shape == (6, 10) and (y == fffbench.fff(x, w1, w2, trees=2)).all()
assert (fffbench.path(x.view(Liar), w1, trees=2) == fffbench.path(x, w1, trees=2)).all()
"""
    here = __file__.rpartition("/")[0]
    done = subprocess.run([sys.executable, "-c", script, here], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class LyingTensor(torch.Tensor):
    @property
    def shape(self):
        return torch.Size((1000, 10))

    def data_ptr(self):
        return 8


def test_a_tensor_that_lies_about_its_shape_and_address_is_read_as_what_it_is(layer):
    x, w1, w2 = tensors(layer)
    y = fffbench.fff(x.as_subclass(LyingTensor), w1, w2, trees=2)
    assert torch.equal(torch.Tensor.as_subclass(y, torch.Tensor), fffbench.fff(x, w1, w2, trees=2))


def test_a_masked_array_is_refused_because_its_mask_would_be_lost(layer):
    x, w1, w2 = layer
    masked = np.ma.masked_array(x, mask=np.zeros_like(x, bool))
    for args in ((masked, w1, w2), (masked, *tensors((w1, w2)))):
        with pytest.raises(ValueError, match="mask would be lost"):
            fffbench.fff(*args, trees=2)
    with pytest.raises(ValueError, match="mask would be lost"):
        fffbench.path(masked, w1, trees=2)


def test_other_subclasses_of_arrays_are_taken(layer):
    x, w1, w2 = layer
    y = fffbench.fff(x.view(np.recarray), w1, w2, trees=2)
    assert type(y) is np.ndarray
    assert (y == fffbench.fff(x, w1, w2, trees=2)).all()


def test_a_read_only_array_beside_tensors_is_refused(layer):
    x, w1, w2 = layer
    x.flags.writeable = False
    assert fffbench.fff(x, w1, w2, trees=2).shape == x.shape
    with pytest.raises(ValueError, match="read-only"):
        fffbench.fff(x, *tensors((w1, w2)), trees=2)


def test_a_pending_negation_is_computed(layer):
    x, w1, w2 = tensors(layer)
    want = fffbench.fff(-x, w1, w2, trees=2)
    assert torch.equal(fffbench.fff(torch._neg_view(x), w1, w2, trees=2), want)
    imaginary = torch.complex(torch.zeros_like(x), x).conj().imag
    assert imaginary.is_neg()
    with torch.inference_mode():
        assert torch.equal(fffbench.fff(torch._neg_view(x), w1, w2, trees=2), want)
    assert torch.equal(fffbench.path(torch._neg_view(x), w1, trees=2), fffbench.path(-x, w1, trees=2))


def test_sparse_and_nested_tensors_are_refused(layer):
    x, w1, w2 = tensors(layer)
    with pytest.raises(ValueError, match="w1 must be contiguous"):
        fffbench.fff(x, w1.to_sparse(), w2, trees=2)
    with pytest.warns(UserWarning, match="prototype"), pytest.raises(ValueError, match=r"contiguous|no implementation"):
        fffbench.fff(torch.nested.nested_tensor([x, x[:2]]), w1, w2, trees=2)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_whole_numbers_of_numpy_are_whole_numbers(layer, kind):
    args = tuple(kind(a) for a in layer)
    want = fffbench.fff(*args, trees=2, threads=1)
    assert (np.asarray(fffbench.fff(*args, trees=np.int64(2), threads=np.uint8(1))) == np.asarray(want)).all()
    assert fffbench.path(*args[:2], trees=np.int32(2)).shape == (6, 6)


@pytest.mark.parametrize("name", ["dense_linear", "faulty_torch_bmm", "cmm_gather_bmm", "reference"])
def test_only_implementations_of_family_fff_are_taken(layer, name):
    from fffbench.implementations.registry import implementations

    if name not in implementations():
        name = next(n for n, known in implementations().items() if known.family == "faulty")
    with pytest.raises(ValueError, match=r"is of family .* allowed: auto, fff_cpu"):
        fffbench.fff(*tensors(layer), trees=2, implementation=name)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_biases_and_activations_of_the_wrong_kind_are_refused(layer, kind):
    x, w1, w2 = (kind(a) for a in layer)
    with pytest.raises(ValueError, match=r"b1 must have shape \(14,\); it has \(10,\)"):
        fffbench.fff(x, w1, w2, trees=2, b1=x[0])
    with pytest.raises(ValueError, match=r"b2 must have shape \(10,\); it has \(14, 10\)"):
        fffbench.fff(x, w1, w2, trees=2, b2=w2)
    with pytest.raises(ValueError, match="unknown activation 'tanh'; allowed: gelu, gelu_tanh, relu, silu"):
        fffbench.fff(x, w1, w2, trees=2, activation="tanh")


# what the docstring of fff promises of numbers at the ends of fp32

BATCHES = (1, 3, 64)


def huge(batch, d=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, d), dtype=np.float32)
    w1, w2 = (rng.standard_normal((127, d), dtype=np.float32) for _ in range(2))
    x[0] *= np.float32(1e38)
    return x, w1, w2


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, lambda a: torch.from_numpy(a).bfloat16()])
def test_a_token_whose_logits_leave_fp32_gets_no_finite_output_and_disturbs_no_other(batch, activation, kind):
    x, w1, w2 = huge(batch)
    alone = fffbench.fff(kind(x[1:]), kind(w1), kind(w2), activation=activation) if batch > 1 else None
    y = fffbench.fff(kind(x), kind(w1), kind(w2), activation=activation)
    y = y.float().numpy() if isinstance(y, torch.Tensor) else y
    assert not np.isfinite(y[0]).any()
    if alone is not None:
        want = alone.float().numpy() if isinstance(alone, torch.Tensor) else alone
        np.testing.assert_allclose(y[1:], want, 2**-7, 1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_what_is_not_finite_in_x_is_not_finite_in_y(value, activation):
    x, w1, w2 = huge(3)
    x[0] = 1
    x[0, 5] = value
    y = fffbench.fff(x, w1, w2, activation=activation)
    assert not np.isfinite(y[0]).any()
    assert np.isfinite(y[1:]).all()


@pytest.mark.parametrize("scale", [1e-38, 1e-42, 1e30])
def test_large_and_denormal_inputs_agree_between_batch_sizes_up_to_rounding(scale):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((64, 40)) * scale).astype(np.float32)
    w1, w2 = (rng.standard_normal((31, 40), dtype=np.float32) for _ in range(2))
    together = fffbench.fff(x, w1, w2)
    one_by_one = np.concatenate([fffbench.fff(x[i : i + 1], w1, w2) for i in range(64)])
    np.testing.assert_allclose(together, one_by_one, 1e-4, 1.2e-38 * 40 * 10)


@pytest.mark.parametrize("kind", ["sparse", "nested", "quantised"])
def test_a_path_through_tensors_without_a_kernel_is_refused_too(layer, kind):
    x, w1, _ = tensors(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the last two
        made = {
            "sparse": w1.to_sparse(),
            "nested": torch.nested.nested_tensor([w1]),
            "quantised": torch.quantize_per_tensor(w1, 0.1, 0, torch.qint8),
        }[kind]
    with pytest.raises(ValueError, match=r"no implementation|contiguous|float32"):
        fffbench.path(x, made, trees=2)


def test_a_nested_tensor_is_refused_whatever_the_implementation(layer):
    x, w1, w2 = tensors(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nested = torch.nested.nested_tensor([w2])
    with pytest.raises(ValueError, match="w2 is a nested tensor"):
        fffbench.fff(x, w1, nested, trees=2, implementation="fff_triton")


def test_more_trees_than_any_layer_has_are_refused_as_such(layer):
    with pytest.raises(ValueError, match="trees"):
        fffbench.fff(*tensors(layer), trees=10**30)
    with pytest.raises(ValueError, match="trees"):
        fffbench.fff(*layer, trees=10**30)
