"""What do the CUDA plans speak of? The device, the layer, launches, products by a library, packed weights.

Pure arithmetic: no torch, no GPU. ``plan.py`` and its neighbours make a ``Plan``, ``launch.py`` runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fffbench.implementations.cuda.build import DTYPE_MACRO

VECTOR_BYTES = 16
ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu")  # in the order of FFF_ACTIVATION in common.cuh
WARP = 32
LANE_FLOATS = 32  # values of a row that one lane keeps in registers; twice that and kernels spill
MIN_TENSOR_D = 256  # shorter outputs cancel more, and activations rounded to 16 bits would show
STATIC_SHARED = 3 * 1024  # what the kernels declare statically, rounded up


@dataclass(frozen=True)
class Gpu:
    """What a plan depends on of the device: multiprocessors and the shared memory that one block may have."""

    multiprocessors: int = 132
    shared_bytes: int = 232448
    early_start: bool = True  # programmatic dependent launch: compute capability 9.0
    wgmma: bool = True  # the tensor cores' instructions of 9.0, which no later device has


@dataclass(frozen=True)
class Layout:
    """What a plan depends on of the layer: everything but batch and addresses."""

    d: int
    trees: int
    levels: int
    dtype: str
    aligned: bool = True  # rows start on 16-byte boundaries
    leaf_width: int = 0  # neurons of a leaf block below `levels` levels of routers; 0: the tree form
    activation: str = "gelu"  # of ACTIVATIONS
    exact_products: bool = (
        True  # a library's products of fp32 are in fp32, not in TF32, which would turn tokens elsewhere
    )
    b1: bool = False  # a number for each row of W1 is added to its logit, before the turn
    b2: bool = False  # a row is added to the output; in the leaf form each leaf has its own

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return 4 if self.dtype == "fp32" else 2

    @property
    def vector(self) -> int:
        """Elements of one access."""
        return VECTOR_BYTES // self.item if self.aligned else 1

    def biases(self, *names: str) -> tuple[str, ...]:
        """Those of ``names`` ("b1", "b2") that the layer has: the last arguments of a kernel that takes them."""
        return tuple(name for name in names if getattr(self, name))

    def macros(self, **more: int) -> dict[str, int]:
        """The macros every kernel is compiled with, and ``more``."""
        common = {"FFF_DTYPE": DTYPE_MACRO[self.dtype], "FFF_D": self.d, "FFF_ALIGNED": int(self.aligned)}
        if self.activation != ACTIVATIONS[0]:
            common["FFF_ACTIVATION"] = ACTIVATIONS.index(self.activation)
        common |= {f"FFF_{name.upper()}": 1 for name in self.biases("b1", "b2")}
        return {**common, **more}


@dataclass(frozen=True)
class Boxes:
    """An argument: a tensor map over matrix ``name (rows, columns)``, copied in boxes of ``box`` rows of 128 bytes."""

    name: str
    rows: int
    columns: int
    box: int


@dataclass(frozen=True)
class Product:
    """A matrix product by torch: ``out = a . b``, ``b`` transposed or not, plus a ``bias (columns,)`` if one is named.

    With or without GELU on the result.
    """

    a: str
    b: str
    out: str
    transposed: bool = False
    gelu: bool = False
    bias: str = ""


@dataclass(frozen=True)
class Packed:
    """A copy of ``source`` ("w1", "w2" or "b1") made once: its row ``rows[i]`` in place i, zeros where that is -1."""

    source: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One launch: source file, entry point, macros, grid, block, dynamic shared memory, arguments."""

    source: str
    entry: str
    macros: dict[str, int]
    grid: int
    block: int
    arguments: tuple[str | int | Boxes, ...]
    shared: int = 0
    overlap: bool = False  # may start while its predecessor ends, and waits for it itself
    only_90: bool = False  # uses instructions of compute capability 9.0 alone (target sm_90a)


@dataclass(frozen=True)
class Plan:
    """The launches and products of one call, and what they share.

    ``workspace``: buffers in bytes, zeroed once. ``matrices``: rows and columns of matrices in the layer's dtype that
    are written whole before they are read. ``packed``: copies of the weights.
    """

    strategy: str
    steps: tuple[Step | Product, ...]
    workspace: dict[str, int] = field(default_factory=dict)
    matrices: dict[str, tuple[int, int]] = field(default_factory=dict)
    packed: dict[str, Packed] = field(default_factory=dict)

    @property
    def launches(self) -> tuple[Step, ...]:
        """Its own kernels."""
        return tuple(step for step in self.steps if isinstance(step, Step))
