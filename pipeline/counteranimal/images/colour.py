"""Turns whatever a decoder returns into the one defined RGB: upright, sRGB, 8 bits, alpha over white.

Decides the order (colour profile, then alpha, then orientation) and the rounding of 16-bit grey. Leaves reading files to the
readers beside it.
"""

from __future__ import annotations

import io

from PIL import Image, ImageCms

__all__ = ["defined_rgb", "upright"]

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned as its EXIF orientation (1..8) asks; 1 returns it unchanged."""
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def defined_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a loaded image as sRGB in mode RGB.

    Parameters
    ----------
    image : PIL.Image.Image
        Loaded, in any mode that JPEG, PNG or WebP can have.
    profile : bytes or None
        Its ICC profile. A broken one, or one for another kind of colour than the image has, is ignored, as browsers do.
    """
    alpha = None
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        image = image.point(lambda value: value * (1 / 257) + 0.0).convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif "transparency" in image.info or image.mode in {"LA", "La", "PA", "RGBa"}:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    image = _to_srgb(image, profile)
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, "white"), alpha)
    return image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return the image in sRGB by its profile, perceptual intent; without a usable profile its numbers are taken as sRGB."""
    if image.mode not in {"RGB", "L", "CMYK"}:
        image = image.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            # An image that says it is sRGB must have the pixels of its copy that says nothing.
            if not ImageCms.getProfileDescription(source).strip().lower().startswith("srgb"):
                converted = ImageCms.profileToProfile(
                    image,
                    source,
                    ImageCms.createProfile("sRGB"),
                    renderingIntent=ImageCms.Intent.PERCEPTUAL,
                    outputMode="RGB",
                )
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image.convert("RGB")
