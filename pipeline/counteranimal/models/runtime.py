"""Runs a torch module on uint8 crops: device, precision, evaluation mode, normalisation on the device.

Decides how numbers are made reproducible: fp32 throughout, no TF32, no gradient, and the same arithmetic whatever the batch;
less only for a model that was asked for it, whose identity then says so. Leaves what the module is to the family modules
beside it.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.models.preprocessing import Frame
from counteranimal.models.protocol import ModelIdentity

__all__ = ["CPU_BATCH", "DTYPES", "DType", "OnRunner", "Runner", "device_for", "devices_of"]

DType = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[str, DType] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""What a person types -> what is recorded."""

# A processor gains nothing from larger batches, and the activations of 32 photos take more than a gigabyte.
CPU_BATCH = 8


def devices_of(names: str) -> list[str]:
    """Return the torch devices for the setting `device`, which may name several, separated by commas; raises as `device_for`.

    Examples
    --------
    >>> devices_of("cpu, cpu")
    ['cpu', 'cpu']
    """
    return [device_for(name) for name in names.split(",")]


def device_for(name: str) -> str:
    """Return the torch device for the setting `device`, the first where it names several.

    `auto` takes an accelerator where there is one.

    Raises
    ------
    UsageError
        If torch does not know the name.
    EnvironmentFailure
        If this machine has no such device.
    """
    import torch

    name = name.partition(",")[0].strip()
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps") from error
    absent = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if absent:
        raise EnvironmentFailure(f"this machine has no device {name}; use --device auto")
    return str(device)


class Runner:
    """One module on one device.

    Parameters
    ----------
    module : torch.nn.Module
        Moved to the device, in fp32 and evaluation mode.
    device : str
        A device that `device_for` returned.
    mean, std : sequence of 3 floats
        Normalisation of channels scaled to 0..1.
    """

    def __init__(self, module: Any, device: str, *, mean: Sequence[float], std: Sequence[float]) -> None:
        import torch

        # For the process, not for the time of a call: several devices run side by side, and one of them would put it back.
        torch.backends.cudnn.allow_tf32 = False
        self.module = module.to(device=device, dtype=torch.float32).eval()
        self.device = device
        self.dtype: DType = "float32"
        self._mean = torch.tensor(list(mean), device=device, dtype=torch.float32).view(1, 3, 1, 1)
        self._std = torch.tensor(list(std), device=device, dtype=torch.float32).view(1, 3, 1, 1)

    def in_dtype(self, dtype: DType) -> Runner:
        """Return a runner of the same module that multiplies in `dtype`; weights, sums and results stay float32."""
        other = copy.copy(self)
        other.dtype = dtype
        return other

    def images(self, function: Callable[[Any], Any], crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return `function(normalised crops)` as float32; `crops` has shape (n, size, size, 3), dtype uint8."""
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[-1] != 3:
            raise UsageError(f"crops must be uint8 of shape (n, size, size, 3), not {crops.dtype} {crops.shape}")
        at_once = CPU_BATCH if self.device == "cpu" else len(crops)
        pieces = [crops[start : start + at_once] for start in range(0, len(crops), max(1, at_once))] or [crops]
        with self._precision():
            return np.concatenate([self._as_array(function(self._normalised(piece))) for piece in pieces])

    def _normalised(self, crops: NDArray[np.uint8]) -> Any:
        import torch

        batch = torch.from_numpy(_owned(crops)).to(self.device).permute(0, 3, 1, 2).contiguous()
        return batch.to(torch.float32).div_(255.0).sub_(self._mean).div_(self._std)

    def call(self, function: Callable[[Any], Any], values: NDArray[Any]) -> NDArray[np.float32]:
        """Return `function(values)` as float32; for heads on features and towers on tokens."""
        import torch

        with self._precision():
            return self._as_array(function(torch.from_numpy(_owned(values)).to(self.device)))

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        import torch

        reduced = self.dtype != "float32"
        dtype = torch.float16 if self.dtype == "float16" else torch.bfloat16
        kind = torch.device(self.device).type
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype, enabled=reduced):
            yield

    @staticmethod
    def _as_array(values: Any) -> NDArray[np.float32]:
        return np.asarray(values.detach().float().cpu().numpy(), dtype=np.float32)


class OnRunner:
    """What every family has in common: an identity, a frame and a module on a device."""

    def __init__(self, identity: ModelIdentity, frame: Frame, runner: Runner) -> None:
        self.identity = identity
        self.preprocessing = frame
        self._runner = runner

    @property
    def device(self) -> str:
        """The torch device it runs on."""
        return self._runner.device

    def preprocessing_for(self, view: str) -> Frame:
        """Return the preprocessing of a view, `centre` or `whole`."""
        return self.preprocessing.view(view)

    def in_dtype(self, dtype: DType) -> Self:
        """Return the same model multiplying in another dtype, with an identity of its own; the weights are shared."""
        other = copy.copy(self)
        other.identity = replace(self.identity, dtype=dtype)
        other._runner = self._runner.in_dtype(dtype)  # noqa: SLF001 - a copy of itself
        return other


def _owned(values: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous array that torch may hold: one that is read-only (a view of a table) is copied."""
    return np.require(values, requirements=["C", "W"])
