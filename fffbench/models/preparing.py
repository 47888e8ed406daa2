"""How is a model prepared for a mode of execution, and does it compute in that mode what it computes as it is?

Outputs of whole models cannot tell: a turn that another rounding decides in one layer changes every layer behind it.
So a prepared model is judged layer by layer. The same calls are prepared twice, the second time with the replaced
layers' inputs and outputs copied out (``tapping``). On an input that no call has seen, with poisoned buffers,

- each replaced layer's output must be right in float64 for the input that it had there;
- the model as it is, run on the same input with these outputs in the place of its own, must have the same inputs of its
  replaced layers and the same result but for rounding: everything between the layers is right;
- the model that is timed must give the result of the one with copies, but for what that one differs from itself when it
  runs again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from torch import Tensor

from fffbench.models import judging, modes, tapping
from fffbench.models.build import Built
from fffbench.models.judging import Captured, Verdict
from fffbench.swapping import Swapped

Call = Callable[[Tensor], Tensor]


def prepare(
    mode: str, built: Built, swapped: Swapped | None, seen: Sequence[Captured], dtype: str
) -> tuple[Call, float, Verdict, judging.Alike]:
    """How ``mode`` calls the model, seconds that it took to prepare, and what its check found; ``WrongError``.

    ``seen``: the calls of the replaced layers in a forward pass of the model as it is, whose shapes are those of every
    pass. Compiled layers are so from now on.
    """
    began = time.perf_counter()
    if mode.startswith("compiled"):
        modes.compile_layers(built.layers)
    call = _prepared(mode, built)
    call(built.inputs[0])
    seconds = time.perf_counter() - began
    x = built.draw()
    with ExitStack() as stack:
        taps = stack.enter_context(tapping.tapped(swapped, seen)) if swapped is not None else []
        checking = _prepared(mode, built) if taps else call
        checking(built.inputs[0]).fill_(float("nan"))
        for tap in taps:
            tap.poison()
        y = checking(x).clone()
        captured = [tap.captured for tap in taps]
        again = checking(x).clone()
    del checking
    verdict = judging.judge(captured, dtype)
    with modes.as_they_are(built.layers), ExitStack() as stack:
        stand_ins = stack.enter_context(tapping.forced(swapped, captured)) if swapped is not None else []
        expected = built.call(x)
    inputs = [(one.captured.x, one.x) for one in stand_ins if one.x is not None]
    found = judging.alike([*inputs, (y, expected)], dtype, mode)
    if taps:
        judging.no_less_alike((call(x), y), (again, y), dtype, mode)
    return call, seconds, verdict, found


def as_it_is(built: Built) -> Call:
    """The model without anything prepared, though its layers may be compiled."""

    def call(x: Tensor) -> Tensor:
        with modes.as_they_are(built.layers):
            return built.call(x)

    return call


def _prepared(mode: str, built: Built) -> Call:
    call = built.call if mode.startswith("compiled") else as_it_is(built)
    return modes.capture(call, built.inputs[0]) if mode.endswith("graph") else call
