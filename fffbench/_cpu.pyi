"""The C++ kernels of fffbench: addresses in, nothing checked but counts. Use fffbench.fff instead."""

def isas() -> list[str]: ...
def blas_dense1(
    wide: bool, dot: int, axpy: int, x: int, w1: int, w2: int, y: int, batch: int, d: int, n: int
) -> None: ...
def blas_gemv_each(
    wide: bool, gemv: int, transposed: bool, matrix: int, source: int, target: int, batch: int, rows: int, columns: int
) -> None: ...
def blas_tree1(
    wide: bool, dot: int, axpy: int, x: int, w1: int, w2: int, y: int, batch: int, d: int, trees: int, levels: int
) -> None: ...
def blas_tree2(
    wide: bool,
    gemv: int,
    axpy: int,
    gemv_batch: int,
    axpy_batch: int,
    workspace: int,
    x: int,
    w1: int,
    w2: int,
    y: int,
    batch: int,
    d: int,
    trees: int,
    levels: int,
) -> None: ...

BLAS_WORDS: int = 7

def evict(ptr: int, nbytes: int) -> bool: ...
def use_huge_pages(ptr: int, nbytes: int) -> bool: ...
def fma_rate(threads: int, isa: str = "auto", dtype: str = "fp32", seconds: float = 0.5) -> float: ...
def read_rate(nbytes: int, threads: int, seconds: float = 0.5) -> float: ...
def copy_rate(nbytes: int, threads: int, seconds: float = 0.5) -> float: ...
def gelu(ptr: int, count: int, threads: int = 1, isa: str = "auto") -> None: ...

class GemmCall:
    tensors: object  # free for the caller: what the addresses belong to
    def __init__(
        self,
        x: int,
        weights: int,
        y: int,
        batch: int,
        d: int,
        n: int,
        threads: int = 1,
        isa: str = "auto",
        levels: int = 0,
    ) -> None: ...
    def run(self) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def run_on(self, x: int, weights: int, y: int) -> None: ...
    @property
    def panel(self) -> int: ...
    @property
    def rows(self) -> int: ...

GEMM_NEURONS: int = 192

GEMM_MAX_LEVELS: int = 7

def mask_trees(
    logits: int, tokens: int, stride: int, trees: int, levels: int, threads: int = 1, dtype: str = "fp32"
) -> None: ...

class GemvCall:
    tensors: object  # free for the caller: what the addresses belong to
    def __init__(
        self,
        x: int,
        w1: int,
        w2: int,
        y: int,
        batch: int,
        d: int,
        n: int,
        threads: int = 1,
        isa: str = "auto",
        dtype: str = "fp32",
    ) -> None: ...
    def run(self) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def run_on(self, x: int, w1: int, w2: int, y: int) -> None: ...

GEMV_MAX_BATCH: int = 16

class LeafCall:
    tensors: object  # free for the caller: what the addresses belong to
    def __init__(
        self,
        x: int,
        w1: int,
        w2: int,
        y: int,
        batch: int,
        d: int,
        trees: int,
        levels: int,
        leaf_width: int,
        threads: int = 1,
        strategy: str = "auto",
        isa: str = "auto",
        dtype: str = "fp32",
    ) -> None: ...
    def run(self) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def run_on(self, x: int, w1: int, w2: int, y: int) -> None: ...
    def run_with(self, x: int, w1: int, w2: int, y: int, b1: int, b2: int, activation: int) -> None: ...
    @property
    def strategy(self) -> str: ...
    @property
    def workers(self) -> int: ...

def published_dense1(
    wide: bool, dot: int, axpy: int, x: int, w1: int, w2: int, y: int, batch: int, d: int, n: int
) -> None: ...
def published_tree1(
    wide: bool, dot: int, axpy: int, x: int, w1: int, w2: int, y: int, batch: int, d: int, levels: int
) -> None: ...
def published_gemv_rows(
    wide: bool,
    gemv: int,
    gemv_batch: int,
    transposed: bool,
    matrix: int,
    source: int,
    source_step: int,
    target: int,
    target_step: int,
    batch: int,
    rows: int,
    columns: int,
    added: bool,
) -> None: ...
def published_tree2(
    wide: bool,
    gemv: int,
    axpy: int,
    gemv_batch: int,
    axpy_batch: int,
    cdf: int,
    mul: int,
    x: int,
    w1: int,
    w2: int,
    y: int,
    batch: int,
    d: int,
    levels: int,
    step: int,
    activated: bool,
) -> None: ...

class FffCall:
    tensors: object  # free for the caller: what the addresses belong to
    def __init__(
        self,
        x: int,
        w1: int,
        w2: int,
        y: int,
        batch: int,
        d: int,
        trees: int,
        levels: int,
        threads: int = 1,
        strategy: str = "auto",
        isa: str = "auto",
        dtype: str = "fp32",
    ) -> None: ...
    def run(self) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def isa(self) -> str: ...
    def run_on(self, x: int, w1: int, w2: int, y: int) -> None: ...
    def run_with(self, x: int, w1: int, w2: int, y: int, b1: int, b2: int, activation: int) -> None: ...
    @property
    def strategy(self) -> str: ...
    @property
    def workers(self) -> int: ...

def path(
    x: int,
    w1: int,
    batch: int,
    d: int,
    trees: int,
    levels: int,
    threads: int,
    isa: str,
    dtype: str,
    out: int,
    b1: int = 0,
) -> None: ...
