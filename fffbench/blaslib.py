"""Which BLAS is here, and where are its functions?

MKL where the ``mkl`` wheel (the extra of that name) is installed, else the
library that numpy calls: the OpenBLAS inside its wheel, or what a
distribution linked it to. Only CBLAS entry points are used, whatever their
spelling (``cblas_sdot``, ``scipy_cblas_sdot64_``, ``cblas_sdot_64``), by
address; so no BLAS and no compiler is needed to install this package.

MKL's threads are those of its own OpenMP where ``load_openmp`` came before
``import torch``, else GNU's, which torch brings. It matters where groups are
small: a parallel region of one thread takes 75 ns with the first and 190 ns
with the second (``docs/notebook/fidelity.md``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctypes import _NamedFuncPointer as Function

ROW_MAJOR, NO_TRANS, TRANS = 101, 111, 112  # CBLAS_LAYOUT and CBLAS_TRANSPOSE
MKL_THREADING_INTEL = 0  # of mkl_service.h

# How a CBLAS function may be spelled, and whether its integers then have 64 bits (None: the library says).
MKL_SPELLINGS = (("", "_64", True), ("", "", False))
SPELLINGS = (("scipy_", "64_", True), ("", "64_", True), ("", "_64", True), ("scipy_", "", None), ("", "", None))


@dataclass(frozen=True)
class Blas:
    """A loaded BLAS: ``name`` has product, version, kernels and threading, ``wide`` is its integers' width."""

    library: ctypes.CDLL
    name: str
    prefix: str
    suffix: str
    wide: bool

    def address(self, function: str) -> int:
        """Where ``cblas_<function>`` is, or 0 where this BLAS has none."""
        return _address(self.library, f"{self.prefix}cblas_{function}{self.suffix}")

    def vector(self, function: str) -> int:
        """Where MKL's vector function ``function`` (``vsCdfNorm``) is, 32-bit counts, or 0 where this is not MKL."""
        return _address(self.library, function)

    def note(self, threads: int) -> str:
        """What a record says about it."""
        return f"{self.name}, {threads} threads"

    def product(
        self, rows: int, inner: int, columns: int, *, transposed: bool = False
    ) -> Callable[[int, int, int], object]:
        """A function of three addresses: ``c (rows, columns) = a (rows, inner) @ b (inner, columns)``, all row-major.

        ``transposed``: b is ``(columns, inner)``.
        One row is a matrix-vector product, as numpy and torch have it too: sgemm takes three times as long there.
        """
        integer = ctypes.c_int64 if self.wide else ctypes.c_int32
        matrix = (ctypes.c_void_p, integer)
        if rows == 1:
            gemv = self._function("sgemv")
            gemv.argtypes = (ctypes.c_int, ctypes.c_int, integer, integer, ctypes.c_float, *matrix, *matrix,
                             ctypes.c_float, *matrix)  # fmt: skip
            sizes = (NO_TRANS, columns, inner) if transposed else (TRANS, inner, columns)
            return lambda a, b, c: gemv(ROW_MAJOR, *sizes, 1.0, b, sizes[2], a, 1, 0.0, c, 1)
        gemm = self._function("sgemm")
        gemm.argtypes = (*(ctypes.c_int,) * 3, *(integer,) * 3, ctypes.c_float, *matrix, *matrix,
                         ctypes.c_float, *matrix)  # fmt: skip
        plain = (ROW_MAJOR, NO_TRANS, TRANS if transposed else NO_TRANS, rows, columns, inner)
        stride = inner if transposed else columns
        return lambda a, b, c: gemm(*plain, 1.0, a, inner, b, stride, 0.0, c, columns)

    def _function(self, name: str) -> Function:
        found = _symbol(self.library, f"{self.prefix}cblas_{name}{self.suffix}")
        assert found is not None  # _opened refuses a library without it
        found.restype = None
        return found


def load_openmp() -> None:
    """Load MKL's OpenMP, where its wheel is installed; for a process that has not imported torch yet.

    Of two OpenMP libraries in a process the first takes the function names they share, for both their users. With
    GNU's first, MKL's own threads would all be told that they are thread 0, and products come out wrong.
    """
    openmp, _ = _mkl_paths()
    if openmp is not None:
        with suppress(OSError):
            ctypes.CDLL(str(openmp), mode=ctypes.RTLD_GLOBAL)


@cache
def find() -> Blas | None:
    """MKL, or the BLAS numpy calls, or None."""
    return _mkl() or _of_numpy()


def missing(*, loops: bool = False) -> str | None:
    """Why BLAS layers cannot run here, or None; ``loops`` asks for the compiled loops between the calls as well."""
    if find() is None:
        return "no CBLAS here: the mkl wheel is not installed, and numpy carries no BLAS of its own"
    if loops:
        try:
            from fffbench import _cpu  # noqa: F401 - a report-only install has none
        except ImportError:
            return "the C++ kernels are not built in this installation (FFFBENCH_KERNELS=OFF)"
    return None


def use(threads: int) -> Blas:
    """The BLAS found, set to exactly ``threads`` threads; call only where nothing is ``missing``."""
    from threadpoolctl import threadpool_limits

    found = find()
    assert found is not None
    threadpool_limits(threads)
    return found


def _symbol(library: ctypes.CDLL, name: str) -> Function | None:
    return getattr(library, name, None)


def _address(library: ctypes.CDLL, name: str) -> int:
    found = _symbol(library, name)
    return 0 if found is None else ctypes.cast(found, ctypes.c_void_p).value or 0


def _mkl() -> Blas | None:
    """MKL's single dynamic library from its wheel, with the OpenMP it would otherwise look for by itself."""
    openmp, runtime = _mkl_paths()
    if openmp is None or runtime is None:
        return None
    try:
        own = ctypes.CDLL(str(openmp), mode=ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(str(runtime))
    except OSError:
        return None
    if _address(ctypes.CDLL(None), "omp_get_thread_num") == _address(own, "omp_get_thread_num"):
        # left to itself MKL takes GNU's threads wherever that library is loaded, in use or not
        library.MKL_Set_Threading_Layer(MKL_THREADING_INTEL)
    return _opened(runtime, MKL_SPELLINGS)


def _mkl_paths() -> tuple[Path | None, Path | None]:
    """Where the wheels' ``libiomp5.so`` and ``libmkl_rt.so`` are."""
    try:
        listed = [Path(str(entry.locate())) for name in ("intel-openmp", "mkl") for entry in files(name) or ()]
    except PackageNotFoundError:
        return None, None
    openmp = next((path.resolve() for path in listed if path.name == "libiomp5.so"), None)
    return openmp, next((path.resolve() for path in listed if path.name.startswith("libmkl_rt.so")), None)


def _of_numpy() -> Blas | None:
    """The library behind numpy's products."""
    import numpy as np  # noqa: F401  (loads the library that threadpoolctl then finds)
    from threadpoolctl import threadpool_info

    paths = [str(item["filepath"]) for item in threadpool_info() if item["user_api"] == "blas"]
    for path in sorted(paths, key=lambda path: "numpy" not in path):
        try:
            found = _opened(Path(path), SPELLINGS)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def _opened(path: Path, spellings: tuple[tuple[str, str, bool | None], ...]) -> Blas | None:
    library = ctypes.CDLL(str(path))
    for prefix, suffix, wide in spellings:
        if all(_symbol(library, f"{prefix}cblas_{name}{suffix}") for name in ("sdot", "saxpy", "sgemv", "sgemm")):
            if wide is None:
                wide = "USE64BITINT" in _openblas_config(library, prefix)  # noqa: PLW2901  (the library decides)
            return Blas(library, _name(library, path), prefix, suffix, wide)
    return None


def _name(library: ctypes.CDLL, path: Path) -> str:
    """Product, version, the architecture whose kernels it chose, and whose threads it uses."""
    from threadpoolctl import threadpool_info

    info: dict[str, Any] = next(
        (item for item in threadpool_info() if Path(item["filepath"]).resolve() == path.resolve()), {}
    )
    product = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}.get(info.get("internal_api", ""), path.name)
    kernels = info.get("architecture") or _mkl_kernels(library)
    threading = info.get("threading_layer") or "unknown"
    version = info.get("version") or "of unknown version"
    return f"{product} {version} ({kernels or 'unknown kernels'}, {threading} threading)"


def _openblas_config(library: ctypes.CDLL, prefix: str) -> str:
    config = _symbol(library, f"{prefix}openblas_get_config")
    if config is None:
        return ""
    config.restype = ctypes.c_char_p
    return (config() or b"").decode(errors="replace")


class _MklVersion(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int) for name in ("major", "minor", "update")],
        *[(name, ctypes.c_char_p) for name in ("status", "build", "processor", "platform")],
    ]


def _mkl_kernels(library: ctypes.CDLL) -> str:
    """The instruction set MKL says it uses."""
    version = _symbol(library, "MKL_Get_Version")
    if version is None:
        return ""
    filled = _MklVersion()
    version(ctypes.byref(filled))
    return (filled.processor or b"").decode(errors="replace").removesuffix(" enabled processors")
