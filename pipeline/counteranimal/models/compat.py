"""Makes torchvision importable beside a torch build that its compiled part does not fit, before open_clip or timm is imported.

Decides only that. timm and open_clip import torchvision for its pure-Python transforms and layers. Its wheel from the package
index is built for CUDA; beside a CPU-only torch the compiled library stays unloaded and two registrations at import fail,
because the operators they decorate were never declared. Declaring their signatures is all that is needed; calling one of
those operators would still fail, and this project never does.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Literal

from counteranimal.errors import MissingDependency

__all__ = ["TORCH_FLOOR", "ensure_torchvision", "library_versions", "model_library", "require_safe_torch"]

TORCH_FLOOR = (2, 10)
_UNDECLARED = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept: list[Any] = []


def ensure_torchvision() -> Literal["native", "declared"]:
    """Import torchvision and say how: untouched, or after declaring the operators its compiled part would have brought.

    Raises
    ------
    MissingDependency
        If torch or torchvision is not installed, or torchvision fails in another way than the known one.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError as error:
        raise MissingDependency(f"{error.name or 'torchvision'} is missing; run pip install counteranimal") from error
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise MissingDependency(
                f"torchvision does not fit the installed torch ({error}); install the pair that constraints.txt names"
            ) from error
    else:
        return "declared" if _kept else "native"
    _declare_operators()
    importlib.import_module("torchvision")
    return "declared"


def model_library(name: str) -> Any:
    """Return the module `timm`, `open_clip`, `torchvision` or `transformers`, imported after torchvision was made importable.

    Raises
    ------
    MissingDependency
        If it is not installed.
    """
    ensure_torchvision()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(f"{error.name or name} is missing; run pip install counteranimal") from error


def _declare_operators() -> None:
    import torch

    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]  # the half-imported package would be found again
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    _kept.append(library)  # its declarations last as long as the object
    for operator in _UNDECLARED:
        library.define(operator + _SIGNATURE)


def require_safe_torch() -> None:
    """Refuse a torch whose weights-only reader is known to be unsafe.

    Raises
    ------
    MissingDependency
        Below torch 2.10 (CVE-2025-32434, CVE-2026-24747).
    """
    import torch

    release = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if release < TORCH_FLOOR:
        raise MissingDependency(
            f"torch {torch.__version__} reads checkpoints unsafely; install torch 2.10 or later, or use safetensors files"
        )


def library_versions(*names: str) -> dict[str, str]:
    """Return the versions of libraries that decide numbers, by distribution name."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in ("torch", "numpy", "pillow", *names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
