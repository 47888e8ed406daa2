"""What do calls of the Python API give, and is it right? Runs in a child; prints a line of JSON for each finding."""

from __future__ import annotations

import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np


class Rounding(NamedTuple):
    """What storing in a type changes: ``unit`` of a result, and ``smallest`` below the normal numbers.

    ``inner`` of a logit and of its activation where a kernel may store these in the type too; else they are fp32.
    """

    unit: float
    smallest: float
    inner: float = 0.0


# Half the spacing of the subnormal numbers is 2^-25 in fp16, which plain torch computes in fp32 and rounds once; the
# others flush what is below 2^-126, also in between. Torch's products, the dense form of bf16, store logits in bf16.
FP32, BF16, FP16 = Rounding(2.0**-23, 2.0**-120), Rounding(2.0**-8, 2.0**-120, 2.0**-8), Rounding(2.0**-11, 2.0**-25)
MOST_PATHS = 64  # of one token through one tree that rounding allows; beyond that nothing is said


def main(calls: list[dict[str, Any]]) -> int:
    """Make every call and judge it."""
    warnings.simplefilter("ignore")  # most come from how the odd tensors are made
    for index, call in enumerate(calls):
        print(json.dumps({"begun": index}), flush=True)
        for judge, said in one(call):
            print(json.dumps({"call": index, "judge": judge, "said": said}), flush=True)
    return 0


def one(call: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Make a call; faults."""
    import torch

    import fffbench

    try:
        values = _values(call)
        given = _given(call, values)
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        if call.get("trick"):
            return  # torch or numpy itself refuses to make such a thing
        raise AssertionError(f"the campaign's own tensors: {error}") from error
    trees = _number(call.get("wrong trees", call["trees"]))
    options: dict[str, Any] = {"trees": trees}
    if "threads" in call:
        options["threads"] = _number(call["threads"])
    tensors = [given["x"], given["w1"]]
    if call["function"] == "fff":
        tensors.append(given["w2"])
        if "implementation" in call:
            options["implementation"] = call["implementation"]
    function = getattr(fffbench, call["function"])
    before = [_bytes(tensor) for tensor in tensors]

    def called() -> Any:
        with torch.no_grad():  # of this thread
            return function(*tensors, **options)

    try:
        result = _around(_surroundings(call), called)
    except ValueError as error:
        text = str(error)
        if not text or len(text) > 1500 or "\n" in text.strip():
            yield "error line", f"ValueError: {text[:200]!r}"
        elif _plain(call):
            yield "refused", f"a plain call is refused: {text[:200]}"
        return
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - any other kind is a fault
        yield "exception", f"{type(error).__name__}: {str(error)[:200]}"
        return
    if before != [_bytes(tensor) for tensor in tensors]:
        yield "wrong value", "an argument was written to"
    try:
        yield from _judged(call, given, result)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        yield "wrong value", f"accepted, but the result cannot be read: {type(error).__name__}: {str(error)[:150]}"


def _plain(call: dict[str, Any]) -> bool:
    """A call of which nothing is out of the ordinary."""
    odd = {"trick", "threads", "wrong trees", "implementation", "around"} & set(call)
    return not odd and call["kind"] in ("numpy", "torch", "bf16") and call["values"] == "normal"


def _number(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("numpy "):
        return np.int64(int(value[6:]))
    return None if value == "none" else value


def _surroundings(call: dict[str, Any]) -> Any:
    """In what a call is made: torch's own mode of fake tensors is one thread's at a time, and asserts that."""
    around = call.get("around")
    return "thread" if around == "threads" and call.get("trick") == "fake" else around


def _around(what: str | None, call: Callable[[], Any]) -> Any:
    """Make the call in surroundings."""
    import torch

    if what in ("thread", "threads"):
        found: list[Any] = []

        def apart() -> None:
            try:
                found.append(call())
            except BaseException as error:  # noqa: BLE001 - raised where it is judged
                found.append(error)

        threads = [threading.Thread(target=apart) for _ in range(1 if what == "thread" else 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one_found in found:
            if isinstance(one_found, BaseException):
                raise one_found
        return found[0]
    if what == "fork":
        call()
        pid = os.fork()
        if pid == 0:
            try:
                call()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        return call()
    if what == "inference mode":
        with torch.inference_mode():
            return call()
    if what == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return call()
    if what == "default dtype":
        torch.set_default_dtype(torch.float64)
        try:
            return call()
        finally:
            torch.set_default_dtype(torch.float32)
    return call()


def _values(call: dict[str, Any]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(call["seed"])
    n, d, batch = call["trees"] * (2 ** call["levels"] - 1), call["d"], call["batch"]
    found = {
        "x": rng.standard_normal((batch, d)),
        "w1": rng.standard_normal((n, d)) / np.sqrt(d),
        "w2": rng.standard_normal((n, d)) / np.sqrt(d),
    }
    scale = {"tiny": 1e-18, "huge": 1e15, "denormal": 1e-39, "zeros": 0.0, "overflow": 1e30}.get(call["values"], 1.0)
    for name in ("x", "w1"):
        found[name] = found[name] * scale
    if call["values"] == "ties":
        found["x"] = np.round(found["x"])
        found["w1"] = np.round(found["w1"] * np.sqrt(d))
    elif call["values"] == "ones":
        found = {name: np.ones_like(value) for name, value in found.items()}
    elif call["values"] == "mixed scales":
        found["x"] = found["x"] * 10.0 ** rng.integers(-6, 6, found["x"].shape)
    elif call["values"] in ("nan", "inf") and batch:
        found["x"][rng.integers(batch), rng.integers(d)] = np.nan if call["values"] == "nan" else np.inf
    return {name: value.astype(np.float32) for name, value in found.items()}


def _given(call: dict[str, Any], values: dict[str, np.ndarray]) -> dict[str, Any]:
    import torch

    # torch itself lets nobody mix fake tensors with others
    kind = "torch" if call.get("trick") == "fake" else call["kind"]
    found: dict[str, Any] = {}
    for name, value in values.items():
        value = value.copy()  # noqa: PLW2901
        if kind == "numpy" or (kind == "mixed" and name == "x"):
            found[name] = value
        elif kind == "dlpack":
            found[name] = _DLPack(torch.from_numpy(value))
        elif kind == "fp64" and name == "w1":
            found[name] = torch.from_numpy(value).double()
        else:
            tensor = torch.from_numpy(value)
            found[name] = {"bf16": tensor.bfloat16, "fp16": tensor.half, "int": tensor.int}.get(
                kind, lambda t=tensor: t
            )()
    if "trick" in call:
        everywhere = call["on"] == "all" or call["trick"] == "fake"
        for name in ("x", "w1", "w2") if everywhere else (call["on"],):
            found[name] = _trick(call["trick"], found[name], call)
        if call["trick"] == "same memory":
            found["w2"] = found["w1"]
    return found


class _DLPack:
    """Something that is no tensor and hands one out."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


class _Subclass(np.ndarray):
    """An array that is one in every way."""


class _LyingShape(np.ndarray):
    """An array that says it has another shape than it has."""

    @property  # type: ignore[misc]
    def shape(self) -> Any:
        real = np.ndarray.shape.__get__(self)
        return (real[0] * 1000, *real[1:]) if len(real) == 2 else real


class _LyingPlace(np.ndarray):
    """An array that says it lies elsewhere."""

    @property
    def __array_interface__(self) -> Any:
        real = dict(np.asarray(self).__array_interface__)
        real["data"] = (8, False)
        return real


def _trick(trick: str, tensor: Any, call: dict[str, Any]) -> Any:
    import torch

    is_array = isinstance(tensor, np.ndarray)
    array = tensor if is_array else None
    if trick == "list":
        return tensor.tolist() if hasattr(tensor, "tolist") else [[1.0]]
    if trick in ("none", "string"):
        return None if trick == "none" else "x"
    if isinstance(tensor, _DLPack):
        return tensor
    if trick == "transposed":
        return tensor.T.copy().T if is_array else tensor.t().contiguous().t()
    if trick == "fortran":
        return np.asfortranarray(tensor) if is_array else tensor
    if trick == "negative stride":
        return tensor[::-1] if is_array else torch.flip(tensor, (0,))
    if trick == "strided":
        return (np.repeat(tensor, 2, 1) if is_array else tensor.repeat_interleave(2, 1))[:, ::2]
    if trick in ("expanded", "zero stride"):
        if is_array:
            return np.broadcast_to(tensor[:1], tensor.shape)
        return tensor[:1].expand(tensor.shape)
    if trick == "offset":
        doubled = np.concatenate([tensor, tensor]) if is_array else torch.cat([tensor, tensor])
        return doubled[len(tensor) :]
    if trick == "wrong d":
        return (
            tensor[:, : max(0, call["d"] - 1)].copy() if is_array else tensor[:, : max(0, call["d"] - 1)].contiguous()
        )
    if trick == "wrong n":
        return tensor[: max(0, len(tensor) - 1)]
    if trick == "1-d":
        return tensor.reshape(-1)
    if trick == "3-d":
        return tensor[None]
    if trick == "0-d":
        return np.float32(1).reshape(()) if is_array else torch.tensor(1.0)
    if trick == "empty":
        return tensor[:0]
    if trick == "deepcopy":
        import copy

        return copy.deepcopy(tensor)
    if is_array:
        assert array is not None
        return _numpy_trick(trick, array)
    return _torch_trick(trick, tensor)


def _numpy_trick(trick: str, array: np.ndarray) -> Any:
    if trick == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
        raw[...] = array
        return raw
    if trick == "read-only":
        array.flags.writeable = False
        return array
    if trick == "masked":
        return np.ma.masked_array(
            array, mask=np.zeros(array.shape, bool) | (np.arange(array.size).reshape(array.shape) == 0)
        )
    if trick == "matrix":
        return np.asmatrix(array)
    views = {"subclass": _Subclass, "lying shape": _LyingShape, "lying pointer": _LyingPlace}
    if trick in views:
        return array.view(views[trick])
    dtypes: dict[str, Any] = {
        "big endian": ">f4",
        "float64": "f8",
        "object": object,
        "complex": "c8",
        "bool": bool,
        "other numpy": "f2",
    }
    if trick in dtypes:
        return array.astype(dtypes[trick])
    return array


def _torch_trick(trick: str, tensor: Any) -> Any:
    import torch

    if trick == "requires grad":
        return tensor.detach().clone().requires_grad_()
    if trick == "parameter":
        return torch.nn.Parameter(tensor, requires_grad=False)
    if trick == "conjugate":
        return torch.complex(tensor.float(), tensor.float()).conj().real
    if trick == "negation":
        return torch.complex(tensor.float(), -tensor.float()).conj().imag
    if trick == "sparse":
        return tensor.to_sparse()
    if trick == "meta":
        return tensor.to("meta")
    if trick == "inference":
        with torch.inference_mode():
            return tensor.clone()
    if trick == "subclass":
        return tensor.as_subclass(_torch_subclass())
    if trick == "quantised":
        return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)
    if trick == "complex":
        return tensor.to(torch.complex64)
    if trick == "bool":
        return tensor.bool()
    if trick == "float64":
        return tensor.double()
    if trick == "nested":
        return torch.nested.nested_tensor([tensor])
    if trick == "fake":
        return _fake_mode().from_tensor(tensor)
    return tensor


@cache
def _torch_subclass() -> Any:
    """A subclass that is a tensor in every way."""
    import torch

    return type("Mine", (torch.Tensor,), {})


@cache
def _fake_mode() -> Any:
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()


def _bytes(tensor: Any) -> Any:
    """The content of an argument, where it has one that can be read."""
    import torch

    if isinstance(tensor, np.ndarray) and type(tensor) is np.ndarray and tensor.dtype != object:
        return tensor.tobytes()
    if type(tensor) is torch.Tensor:
        try:
            return tensor.detach().resolve_neg().resolve_conj().float().numpy().tobytes()
        except (RuntimeError, TypeError):
            return None
    return None


def _float64(value: Any) -> np.ndarray:
    import torch

    if isinstance(value, _DLPack):
        value = value._tensor
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor).resolve_neg().resolve_conj().double().numpy()
    return np.array(np.ma.getdata(value).view(np.ndarray), dtype=np.float64)


def _judged(call: dict[str, Any], given: dict[str, Any], result: Any) -> Iterator[tuple[str, str]]:
    """Compare with float64 along every path that rounding allows."""
    if call.get("trick") in ("fake", "meta") or call.get("around") == "autocast":
        return  # they have no values; and under autocast they are those of another type
    names = ("x", "w1", "w2") if call["function"] == "fff" else ("x", "w1")
    masked = [name for name in names if np.ma.isMaskedArray(given[name])]
    if masked:
        yield "wrong value", f"the mask of {masked[0]} is ignored without a word"
        return
    x, w1, w2 = (_float64(given[name if name in names else "w1"]) for name in ("x", "w1", "w2"))
    trees = int(_number(call.get("wrong trees", call["trees"])))
    levels = (len(w1) // trees).bit_length()
    name = call.get("implementation", "auto")
    if call["function"] == "fff" and str(name).startswith(("dense", "faulty")):
        yield "wrong value", f"{name} computes another function and was accepted"
        return
    kept = {"bf16": BF16, "fp16": FP16}.get(call["kind"], FP32)
    largest = 6e4 if call["kind"] == "fp16" else 1e38  # beyond it an infinity is the right answer
    found = _float64(result)
    shape = (*x.shape[:-1], trees * levels) if call["function"] == "path" else x.shape
    if found.shape != shape:
        yield "wrong value", f"the result has shape {found.shape}, not {shape}"
        return
    x, found = x.reshape(-1, w1.shape[1]), found.reshape(-1, shape[-1])
    with np.errstate(all="ignore"):
        for token in range(len(x)):
            said = _token(call["function"], x[token], w1, w2, trees, levels, kept, largest, found[token])
            if said:
                yield "wrong value", f"token {token}: {said}"
                return


def _token(
    function: str,
    x: np.ndarray,
    w1: np.ndarray,
    w2: np.ndarray,
    trees: int,
    levels: int,
    kept: Rounding,
    largest: float,
    got: np.ndarray,
) -> str:
    """What is wrong with one token's result; empty where it is right or nothing can be said."""
    if not np.isfinite(x).all():
        return ""  # no value is promised
    if np.abs(w1 * x).sum(1).max(initial=0.0) > 1e37 and (function == "path" or not np.isfinite(got).all()):
        return ""  # beyond fp32's range an infinity or a NaN is no silent wrong value, and no path is promised
    return _against(function, x, w1, w2, trees, levels, kept, largest, got)


def _against(
    function: str,
    x: np.ndarray,
    w1: np.ndarray,
    w2: np.ndarray,
    trees: int,
    levels: int,
    kept: Rounding,
    largest: float,
    got: np.ndarray,
) -> str:
    size = 2**levels - 1
    logits = w1 @ x
    # fp32 sums of d products, inputs exact; below the smallest normal number products are flushed or rounded
    doubt = (len(x) + 8) * 2.0**-24 * (np.abs(w1) @ np.abs(x)) + len(x) * 2.0**-126
    ways: list[list[list[int]]] = []
    for tree in range(trees):
        paths: list[list[int]] = [[]]
        for level in range(levels):
            longer = []
            for path in paths:
                node = 0 if level == 0 else 2 * path[-1] + 1
                turns = (0,) if level == 0 else _turns(path[-1], tree * size, logits, doubt)
                longer += [[*path, node + place] for place in turns]
            paths = longer
            if len(paths) > MOST_PATHS:
                return ""
        ways.append([[tree * size + node for node in path] for path in paths])
    if function == "path":
        for tree, paths in enumerate(ways):
            mine = [int(value) for value in got[tree * levels : (tree + 1) * levels]]
            if mine not in paths:
                return f"tree {tree} goes {mine}, allowed {paths[:2]}"
        return ""
    if np.prod([len(paths) for paths in ways]) > MOST_PATHS:
        return ""
    options = [np.zeros(len(x))]
    bounds = [np.zeros(len(x))]
    for paths in ways:
        sums, scales = [], []
        for path in paths:
            z = logits[path]
            gate = _gelu(z)
            sums.append(gate @ w2[path])
            moved = np.maximum(*(np.abs(_gelu(z * (1 + sign * kept.inner)) - gate) for sign in (-1, 1)))
            # GELU's and the outer sum's rounding, in fp32 in every type; where they are stored in a narrow one, a
            # logit's and GELU's; and a logit's error, which GELU passes on with a slope of 1.13 at most
            own = (8 * FP32.unit + kept.inner) * np.abs(gate) + moved + 2 * doubt[path]
            scales.append(own @ np.abs(w2[path]))
        options = [a + b for a in options for b in sums]
        bounds = [a + b for a in bounds for b in scales]
    worst = np.inf
    for option, bound in zip(options, bounds, strict=True):
        if np.abs(option).max(initial=0.0) > largest and not np.isfinite(got).all():
            return ""
        allowed = bound + kept.unit * (np.abs(option) + bound) + kept.smallest
        worst = min(
            worst, float(np.max(np.abs(got - option) / allowed, initial=0.0)) if np.isfinite(got).all() else np.inf
        )
        if worst <= 1:
            return ""
    return f"{worst:.3g} times beyond rounding: {got[:3]} where float64 gives {options[0][:3]}"


def _gelu(z: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    found: np.ndarray = z * 0.5 * (1 + erf(z / np.sqrt(2)))
    return found


def _turns(node: int, base: int, logits: np.ndarray, doubt: np.ndarray) -> tuple[int, ...]:
    """Left (0), right (1), or both where rounding decides."""
    z = logits[base + node]
    if abs(z) <= doubt[base + node]:
        return (0, 1)
    return (1,) if z > 0 else (0,)
