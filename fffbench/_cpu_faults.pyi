"""The C++ kernels with planted mistakes: ``fault`` says which. For testing the tests, never for measuring."""

GEMM_NEURONS: int
GEMM_MAX_LEVELS: int
GEMV_MAX_BATCH: int

def isas() -> list[str]: ...

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
        fault: str = "none",
    ) -> None: ...
    def run(self) -> None: ...
    def run_on(self, x: int, w1: int, w2: int, y: int) -> None: ...
    def run_with(self, x: int, w1: int, w2: int, y: int, b1: int, b2: int, activation: int) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def strategy(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def workers(self) -> int: ...

class LeafCall:
    tensors: object
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
        fault: str = "none",
    ) -> None: ...
    def run(self) -> None: ...
    def run_on(self, x: int, w1: int, w2: int, y: int) -> None: ...
    def run_with(self, x: int, w1: int, w2: int, y: int, b1: int, b2: int, activation: int) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def strategy(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def workers(self) -> int: ...

class GemvCall:
    tensors: object
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
    def run_on(self, x: int, w1: int, w2: int, y: int) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def isa(self) -> str: ...

class GemmCall:
    tensors: object
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
        fault: str = "none",
    ) -> None: ...
    def run(self) -> None: ...
    def run_on(self, x: int, weights: int, y: int) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def panel(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def isa(self) -> str: ...

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
def mask_trees(
    logits: int,
    tokens: int,
    stride: int,
    trees: int,
    levels: int,
    threads: int = 1,
    dtype: str = "fp32",
    fault: str = "none",
) -> None: ...
def gelu(ptr: int, count: int, threads: int = 1, isa: str = "auto") -> None: ...
def evict(ptr: int, nbytes: int) -> bool: ...
def use_huge_pages(ptr: int, nbytes: int) -> bool: ...
def fma_rate(threads: int, isa: str = "auto", dtype: str = "fp32", seconds: float = 0.5) -> float: ...
def read_rate(nbytes: int, threads: int, seconds: float = 0.5) -> float: ...
def copy_rate(nbytes: int, threads: int, seconds: float = 0.5) -> float: ...
