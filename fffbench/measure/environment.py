"""Which variables of the user's shell would change what is measured?

They are taken out before anything is loaded that reads them, so that a result does not depend on the shell it was
started from: with ``OMP_THREAD_LIMIT=1`` or ``OMP_DYNAMIC=true`` a dense layer labelled two threads runs on one, with
``OMP_PROC_BIND=true`` everything runs on CPU 0, ``NVIDIA_TF32_OVERRIDE`` makes fp32 something else. What was taken out
is stored, and what stays and matters (a preloaded allocator) is part of what a run may be continued under.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping

from fffbench.anonymity import neutral
from fffbench.errors import UserError

REMOVED = (
    *("OMP_", "GOMP_", "KMP_", "LIBOMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "VECLIB_", "BLAS_", "NUMEXPR_"),
    *("ATEN_", "ONEDNN_", "DNNL_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_", "TRITON_", "MALLOC_", "GLIBC_TUNABLES"),
    *("NVIDIA_TF32_OVERRIDE", "CUBLAS_", "CUBLASLT_", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING"),
    *("CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_FORCE_PTX_JIT", "CUDA_DISABLE_PTX_JIT"),
)
# where a cache or a tool lies, and not how fast anything is
LEFT = ("TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR", "TRITON_INTERPRET")
STAYS = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_BIND_NOW", "CUDA_VISIBLE_DEVICES", "PYTHONMALLOC", "TRITON_INTERPRET")
BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")
# Other libraries import whatever an installed package registers with them, in every process: a kernel's package too.
ADDED = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
MOST = 1000  # characters of what is stored

_inherited: dict[str, str] = {}  # what this process was started with


def clean() -> None:
    """Take the variables out of this process and so out of its children; before torch is imported.

    ``UserError`` where it is too late: an OpenMP that has read where to bind its threads may have bound this one.
    """
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(REMOVED) and name not in LEFT and ADDED.get(name) != value
    }
    too_late = sorted(name for name in BINDING if name in found and "torch" in sys.modules)
    if too_late:
        raise UserError(f"{', '.join(too_late)} was set when torch was loaded, which bound its threads; unset it")
    _inherited.update(found)
    for name in found:
        del os.environ[name]
    os.environ.update(ADDED)


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what would change a measurement, for a child."""
    kept = {name: value for name, value in environment.items() if not name.startswith(REMOVED) or name in LEFT}
    return kept | ADDED


def inherited() -> str:
    """What was taken out, as a run stores it."""
    return _shown(_inherited) or "none"


def remaining(environment: MutableMapping[str, str] | None = None) -> str:
    """What stays and may matter, as a run stores it."""
    environment = os.environ if environment is None else environment
    return _shown({name: environment[name] for name in STAYS if environment.get(name)}) or "none"


def _shown(variables: Mapping[str, str]) -> str:
    return neutral(" ".join(f"{name}={value}" for name, value in sorted(variables.items())))[:MOST]
