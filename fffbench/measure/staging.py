"""Which call of a timed sample is checked, on which content, and where does its output go?

A ``Sheet`` is memory that the judge and the measuring process share: fresh inputs, how they change before each checked
call, and the outputs. The judge draws it from the system's entropy after the implementation was prepared and bound, so
that nothing an implementation computed before, or from the seed, is of use. One output row per checked call is kept,
a different one each time; the judge compares those it picks afterwards.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fffbench.devices.clock import MOST_SAMPLES
from fffbench.measure import inputs
from fffbench.measure.seal import Tools
from fffbench.plan.workload import DTYPE_BYTES, Cell

if TYPE_CHECKING:
    import torch

MOST_CHECKS = MOST_SAMPLES + 64  # samples, and the calls that the judge times and checks after them
UNWRITTEN = 0xFF  # of every byte: NaN in every dtype
CONTROL = -1  # no change: the content stays as the last change left it

Bits = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Layout:
    """Where what lies in a sheet; every part begins on a cache line."""

    batches: int
    batch: int
    d: int
    itemsize: int
    outputs: int  # rows of whole outputs, of the check before the timing

    @classmethod
    def of(cls, cell: Cell) -> Layout:
        """The layout for ``cell``."""
        workload, batches = cell.workload, inputs.used_batches(cell)
        outputs = inputs.checked_batches(workload, inputs.pool_batches(cell)) * workload.batch
        return cls(batches, workload.batch, workload.shape.d, DTYPE_BYTES[workload.dtype], outputs)

    def parts(self) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Dtype and shape of each part, bit patterns for numbers of the workload's dtype."""
        bits = np.uint32 if self.itemsize == 4 else np.uint16
        return {
            "x": (bits, (self.batches * self.batch, self.d)),
            "columns": (np.int64, (MOST_CHECKS + self.batch,)),
            "values": (bits, (MOST_CHECKS + self.batch,)),
            "offsets": (np.int64, (MOST_CHECKS,)),
            "stale": (np.bool_, (MOST_CHECKS,)),
            "rows": (np.int64, (MOST_CHECKS,)),
            "places": (np.float64, (MOST_CHECKS,)),
            "outputs": (bits, (self.outputs, self.d)),
            "kept": (bits, (MOST_CHECKS, self.d)),
        }


class Sheet:
    """The parts of ``Layout.parts`` as arrays over shared memory."""

    def __init__(self, layout: Layout, descriptor: int) -> None:
        """Map ``descriptor``, a file in memory of at least ``size(layout)`` bytes."""
        self.layout = layout
        self._memory = mmap.mmap(descriptor, size(layout))
        start = 0
        self.part: dict[str, npt.NDArray[np.generic]] = {}
        for name, (dtype, shape) in layout.parts().items():
            count = int(np.prod(shape))
            self.part[name] = np.frombuffer(self._memory, dtype, count, start).reshape(shape)
            start += _rounded(count * np.dtype(dtype).itemsize)


def size(layout: Layout) -> int:
    """Bytes of a sheet."""
    return 64 + sum(
        _rounded(int(np.prod(shape)) * np.dtype(dtype).itemsize) for dtype, shape in layout.parts().values()
    )


def _rounded(count: int) -> int:
    return -(-count // 64) * 64


class Staged:
    """A ``clock.Stage`` over a pool of batches."""

    def __init__(self, sheet: Sheet, x: Sequence[torch.Tensor], y: Sequence[torch.Tensor] | None, tools: Tools) -> None:
        """``y`` None: the calls return their outputs."""
        import torch

        self.batches: list[int] = []  # of each checked call so far
        self.fault: str | None = None
        self._tools, self._layout = tools, sheet.layout
        self._row_bytes = sheet.layout.d * sheet.layout.itemsize
        self._address, self._tensor = torch.Tensor.data_ptr, torch.Tensor
        self._expected = (tuple(x[0].shape), x[0].dtype, x[0].layout, x[0].device) if x else None
        bits = torch.int32 if sheet.layout.itemsize == 4 else torch.int16
        self._x = [tensor.reshape(-1).view(bits).numpy().view(sheet.part["x"].dtype) for tensor in x]
        self._y = None if y is None else [tensor.data_ptr() for tensor in y]
        self._columns, self._values = sheet.part["columns"].astype(np.int64), sheet.part["values"].copy()
        self._offsets, self._rows = sheet.part["offsets"].tolist(), sheet.part["rows"].tolist()
        self._stale, self._places = sheet.part["stale"].tolist(), sheet.part["places"].tolist()
        self._kept = sheet.part["kept"].ctypes.data
        self._starts = np.arange(sheet.layout.batch, dtype=np.int64) * sheet.layout.d
        self._undo: dict[int, tuple[npt.NDArray[np.int64], Bits]] = {}

    def place(self, calls: int) -> int:
        """The last call half of the time, so that nothing runs between its end and the look at its output."""
        where = self._places[len(self.batches)]
        return calls - 1 if where >= 0.5 else int(2 * where * calls)

    def change(self, batch: int) -> None:
        """Change one element in every row of the batch's input, in place of the last change; unwrite its output.

        Or leave the output of the content before, which is as wrong now: a kernel sees an unwritten one.
        """
        offset, x, count = self._offsets[len(self.batches)], self._x[batch], self._layout.batch
        if offset != CONTROL:
            if batch in self._undo:
                index, before = self._undo[batch]
                x[index] = before
            index = self._starts + self._columns[offset : offset + count]
            self._undo[batch] = (index, x[index])
            x[index] = self._values[offset : offset + count]
        if offset == CONTROL or not self._stale[len(self.batches)]:
            self.unwrite(batch)

    def unwrite(self, batch: int) -> None:
        """Fill the batch's output with what no kernel writes."""
        if self._y is not None:
            self._tools.fill(self._y[batch], UNWRITTEN, self._layout.batch * self._row_bytes)

    def keep(self, batch: int, result: object) -> None:
        """Copy one row of the output, at once."""
        number = len(self.batches)
        if self._layout.batch == 0:  # no row, and perhaps no memory
            self.batches.append(batch)
            return
        row = self._rows[number] * self._row_bytes
        if self._y is not None:
            self._tools.copy(self._kept + number * self._row_bytes, self._y[batch] + row, self._row_bytes)
        elif self._plain(result):
            self._tools.copy(self._kept + number * self._row_bytes, self._address(result) + row, self._row_bytes)  # type: ignore[arg-type]
        self.batches.append(batch)

    def _plain(self, result: object) -> bool:
        """Whether the call returned a tensor as the caller of a layer may expect it, computed and in memory."""
        if type(result) is not self._tensor:
            self.fault = f"forward returned {type(result).__name__}, not a plain torch.Tensor"
        elif (tuple(result.shape), result.dtype, result.layout, result.device) != self._expected:
            self.fault = f"forward returned {tuple(result.shape)} of {result.dtype} on {result.device}"
        elif not result.is_contiguous() or result.is_neg() or result.is_conj():
            self.fault = "forward returned a tensor that is not contiguous, or whose negation is pending"
        else:
            return True
        return False
