"""How does Python call a C++ op? By one class for all of them: the op, its sizes, and the layer that it computes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fffbench.implementations.registry import Layer

if TYPE_CHECKING:
    import torch

NOT_BUILT = "the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)"


def missing() -> str | None:
    """Why there are no C++ ops here, as a sentence, or None."""
    try:
        importlib.import_module("fffbench._cpu")
    except ImportError:  # a report-only install
        return NOT_BUILT
    return None


@dataclass(frozen=True)
class Call:
    """The class ``op`` of ``fffbench._cpu`` with its keyword arguments ``sizes``.

    It is called with addresses: of x, of the weights (``weights`` has the elements of each), of y.
    """

    op: str
    sizes: dict[str, Any]
    weights: tuple[int, ...]

    def planned(self, *places: int) -> Any:
        """The planned call at ``places``, or at none yet."""
        made = getattr(importlib.import_module("fffbench._cpu"), self.op)
        return made(*(places or (0,) * (len(self.weights) + 2)), **self.sizes)

    def layer(
        self,
        weights: tuple[torch.Tensor, ...],
        shape: tuple[int, int],
        resident: tuple[torch.Tensor, ...] = (),
        notes: Callable[[Any], str] = lambda planned: str(planned.isa),
    ) -> Layer:
        """The layer on x and y of ``shape`` ``(batch, d)``; it refuses tensors of another shape, dtype or layout."""
        import torch

        planned, dtype, empty_like = self.planned(), weights[0].dtype, torch.empty_like
        planned.tensors = weights  # kept alive as long as their addresses are used
        run_on, places = planned.run_on, tuple(tensor.data_ptr() for tensor in weights)

        def forward(x: torch.Tensor) -> torch.Tensor:
            if x.shape != shape or x.dtype is not dtype or not x.is_contiguous():
                raise ValueError(f"x must be a contiguous {dtype} tensor of shape {shape}")
            y = empty_like(x)
            run_on(x.data_ptr(), *places, y.data_ptr())
            return y

        def bind(x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
            for name, tensor in (("x", x), ("y", y)):
                if tensor.shape != shape or tensor.dtype is not dtype or not tensor.is_contiguous():
                    raise ValueError(f"{name} must be a contiguous {dtype} tensor of shape {shape}")
            bound = self.planned(x.data_ptr(), *places, y.data_ptr())
            bound.tensors = (x, y, *weights)
            run: Callable[[], object] = bound.run
            return run

        return Layer(forward, bind, resident, (notes(planned),))
