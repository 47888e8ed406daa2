"""How does a .cu file become machine code for one GPU, and where is it kept?

NVRTC compiles it at first use, through cuda-core; nothing of the CUDA toolkit has to be installed. The result is
cached on disk under a key of source, headers, macros, architecture and compiler version, so a second process
starts without a compiler. ``FFFBENCH_CACHE`` moves the cache; a cache that cannot be written is no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent
DTYPE_MACRO = {"fp32": 0, "bf16": 1, "fp16": 2}
STANDARD = "c++17"
MIN_CAPABILITY = (8, 0)  # bf16 mma and cp.async need Ampere


class BuildError(Exception):
    """A source did not compile; the message is the compiler's first error line."""


@cache
def missing() -> str | None:
    """Which Python package is lacking to compile at run time, as a sentence, or None."""
    try:
        if find_spec("cuda") is None or find_spec("cuda.core") is None:
            return "needs cuda-core (pip install 'fffbench[cuda]')"
        from cuda.bindings import nvrtc

        core()
        nvrtc.nvrtcVersion()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"needs cuda-core 0.5 or newer with NVRTC: {_first_line(error)}"
    return None


def core() -> Any:
    """cuda-core, under the name it has in this version."""
    try:
        module = importlib.import_module("cuda.core")
        return module if hasattr(module, "Program") else importlib.import_module("cuda.core.experimental")
    except ModuleNotFoundError:
        return importlib.import_module("cuda.core.experimental")


def arch_name(capability: tuple[int, int]) -> str:
    """``(9, 0)`` -> ``sm_90``."""
    return f"sm_{capability[0]}{capability[1]}"


def cache_dir() -> Path:
    """Where compiled kernels are kept."""
    base = os.environ.get("FFFBENCH_CACHE")
    if base:
        return Path(base) / "cuda"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fffbench" / "cuda"


def cubin(source: str, macros: Mapping[str, int], arch: str) -> bytes:
    """Machine code of ``source`` (a file name in this folder) for ``arch``, from the cache or compiled now."""
    text = (SOURCES / source).read_text(encoding="utf-8")
    key = _key(text, macros, arch)
    path = cache_dir() / f"{Path(source).stem}-{arch}-{key}.cubin"
    with contextlib.suppress(OSError):
        return path.read_bytes()
    code = _compile(source, text, macros, arch)
    with contextlib.suppress(OSError):
        _write_whole(path, code)
    return code


def _key(text: str, macros: Mapping[str, int], arch: str) -> str:
    from cuda.bindings import nvrtc

    digest = hashlib.sha256()
    for part in (text, *(header.read_text(encoding="utf-8") for header in sorted(SOURCES.glob("*.cuh")))):
        digest.update(part.encode())
        digest.update(b"\0")
    digest.update(repr((sorted(macros.items()), arch, STANDARD, nvrtc.nvrtcVersion()[1:])).encode())
    return digest.hexdigest()[:24]


def _compile(source: str, text: str, macros: Mapping[str, int], arch: str) -> bytes:
    options = core().ProgramOptions(
        name=source,
        arch=arch,
        std=STANDARD,
        include_path=[str(SOURCES)],
        define_macro=[(name, str(value)) for name, value in sorted(macros.items())],
    )
    try:
        code = core().Program(text, "c++", options).compile("cubin").code
    except Exception as error:  # cuda-core wraps NVRTC's failures in classes of its own, which moved between versions
        reason = _first_error(str(error)).replace(f"{SOURCES}{os.sep}", "")
        raise BuildError(f"{source} does not compile for {arch}: {reason}") from error
    return code if isinstance(code, bytes) else Path(code).read_bytes()


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line and "(" in line), lines[0] if lines else "no message")


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
