"""Preprocessing on uint8: from an upright RGB photo to the square that a model sees.

Decides sizes, cropping and interpolation, with PIL alone, so that one decoded photo can be cropped for many models in a worker
that never imports torch. Normalisation is the model's and happens on the device.

Two views of the same model: `centre` is the preprocessing the weights were published with; `whole` squashes the whole frame
into the square, because a centre crop cuts away exactly the sides where a photo shows its background.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from counteranimal.errors import UsageError

__all__ = ["Frame", "View"]

View = Literal["centre", "whole"]
Fit = Literal["crop", "squash", "pad"]

_INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One preprocessing.

    Attributes
    ----------
    size : int
        Side of the square, pixels.
    resize : int
        Length that the shorter side is brought to before the centre crop, pixels; `size` where nothing is cropped.
    interpolation : str
        bicubic, bilinear, nearest or lanczos, as PIL does them (with anti-aliasing).
    fit : str
        `crop`: shorter side to `resize`, then the centre; `squash`: both sides to `size`; `pad`: longer side to `size`, the
        rest filled with `fill`.
    fill : int
        Grey of the padding, 0-255.
    """

    size: int
    resize: int
    interpolation: str = "bicubic"
    fit: Fit = "crop"
    fill: int = 0

    def __post_init__(self) -> None:
        if self.interpolation not in _INTERPOLATIONS:
            raise UsageError(
                f"interpolation {self.interpolation!r} is unknown; use one of {', '.join(sorted(_INTERPOLATIONS))}"
            )

    @property
    def key(self) -> str:
        """Text that is equal exactly when two preprocessings give equal crops."""
        detail = {"crop": f"crop{self.resize}", "squash": "squash", "pad": f"pad{self.fill}"}[self.fit]
        return f"{detail}-{self.size}-{self.interpolation}"

    def view(self, view: str) -> Frame:
        """Return this preprocessing for a view; raises UsageError for an unknown one."""
        if view == "centre":
            return self
        if view == "whole":
            return replace(self, fit="squash", resize=self.size)
        raise UsageError(f"view {view!r} is unknown; use centre or whole")

    def crop(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the square of an upright RGB image, shape (size, size, 3), dtype uint8."""
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        if self.fit == "squash":
            square = rgb.resize((self.size, self.size), _INTERPOLATIONS[self.interpolation])
        elif self.fit == "pad":
            square = self._padded(rgb)
        else:
            square = self._centre(rgb)
        return np.asarray(square, dtype=np.uint8)

    def _padded(self, rgb: Image.Image) -> Image.Image:
        scale = self.size / max(rgb.size)
        width, height = (max(1, round(side * scale)) for side in rgb.size)
        small = rgb.resize((width, height), _INTERPOLATIONS[self.interpolation])
        square = Image.new("RGB", (self.size, self.size), (self.fill,) * 3)
        square.paste(small, ((self.size - width) // 2, (self.size - height) // 2))
        return square

    def _centre(self, rgb: Image.Image) -> Image.Image:
        # Truncation of the longer side and rounding of the offsets follow torchvision's Resize and CenterCrop, on which the
        # published preprocessing of open_clip, timm and torchvision models rests.
        shorter = min(rgb.size)
        width, height = (int(self.resize * side / shorter) for side in rgb.size)
        small = rgb.resize((width, height), _INTERPOLATIONS[self.interpolation])
        left, top = round((width - self.size) / 2.0), round((height - self.size) / 2.0)
        return small.crop((left, top, left + self.size, top + self.size))
