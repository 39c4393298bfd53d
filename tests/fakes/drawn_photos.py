"""Pictures drawn by arithmetic, so that nothing of anybody's is needed to look at a labelling page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 1200, 800


def draw_photo(seed: int) -> bytes:
    """Return a JPEG of a penguin-like bird on a beach, another one for every seed."""
    rng = np.random.default_rng(seed)
    rows = np.linspace(0, 1, HEIGHT)[:, None]
    sky = np.array([150, 190, 225]) * (1 - rows[..., None]) + np.array([225, 235, 240]) * rows[..., None]
    sand = np.array([214, 190, 148]) - 40 * (rows[..., None] - 0.6)
    horizon = 0.42 + 0.02 * np.sin(np.linspace(0, 9, WIDTH) + seed)[None, :, None]
    sea = np.array([70, 120, 150]) + 20 * np.sin(rows[..., None] * 300)
    scene = np.where(rows[..., None] < horizon - 0.1, sky, np.where(rows[..., None] < horizon, sea, sand))
    grain = rng.normal(0, 1.5, (HEIGHT, WIDTH, 1)) * np.where(rows[..., None] < horizon, 0.25, 1.0)
    image = Image.fromarray(np.clip(scene + grain, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    pen = ImageDraw.Draw(image)
    x, y = WIDTH // 2 + int(rng.integers(-180, 180)), 430
    pen.ellipse((x - 120, y + 250, x + 130, y + 290), fill=(176, 152, 116))
    pen.ellipse((x - 95, y - 120, x + 95, y + 270), fill=(38, 42, 52))
    pen.ellipse((x - 62, y - 60, x + 62, y + 255), fill=(238, 236, 228))
    pen.ellipse((x - 70, y - 210, x + 70, y - 70), fill=(38, 42, 52))
    pen.polygon([(x + 60, y - 155), (x + 120, y - 138), (x + 58, y - 122)], fill=(214, 140, 60))
    pen.ellipse((x + 22, y - 165, x + 40, y - 147), fill=(245, 245, 240))
    pen.ellipse((x - 125, y - 60, x - 75, y + 150), fill=(30, 33, 42))
    for foot in (-45, 25):
        pen.ellipse((x + foot - 25, y + 255, x + foot + 45, y + 280), fill=(214, 140, 60))
    if seed % 3 == 1:  # every third stands upright, as phones take them
        image = image.crop((x - 250, 0, x + 250, HEIGHT)).resize((800, 1280))
    data = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.6)).save(data, "JPEG", quality=85)
    return data.getvalue()
