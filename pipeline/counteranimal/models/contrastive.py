"""Image-text models through open_clip: published tags, and weight files given by path.

Decides what open_clip leaves to chance: the activation is recorded and a tag is refused under an architecture with the other
one, since the mistake costs points and raises no error. A file by path carries no such hint, so its architecture must state
it (`ViT-B-32` or `ViT-B-32-quickgelu`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import EnvironmentFailure, IntegrityError, UsageError
from counteranimal.models.compat import library_versions, model_library, require_safe_torch
from counteranimal.models.files import read_weights, weights_digest
from counteranimal.models.hub import open_clip_weights
from counteranimal.models.preprocessing import Fit, Frame
from counteranimal.models.protocol import ModelIdentity
from counteranimal.models.runtime import OnRunner, Runner, device_for

__all__ = ["ContrastiveModel", "frame_of_open_clip", "load_open_clip", "unit_rows"]

TEXT_BATCH = 64
Tokenise = Callable[[list[str]], NDArray[np.int64]]


class ContrastiveModel(OnRunner):
    """An open_clip module: unit image features, unit text features, one space.

    Parameters
    ----------
    identity : ModelIdentity
    frame : Frame
        The published preprocessing.
    runner : Runner
        Holds the open_clip module.
    tokenise : callable
        Maps a list of texts to an int64 array of shape (n, length); called with `TEXT_BATCH` texts at most.
    """

    def __init__(self, identity: ModelIdentity, frame: Frame, runner: Runner, tokenise: Tokenise) -> None:
        super().__init__(identity, frame, runner)
        self._tokenise = tokenise

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return unit image features, shape (n, d), float32."""
        return unit_rows(self._runner.images(self._runner.module.encode_image, crops))

    def text_features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit text features, shape (n, d), float32.

        Texts of similar length are encoded together, so that little is padded; the order of the rows is that of the texts.

        Raises
        ------
        UsageError
            If a text is empty.
        """
        if any(not text.strip() for text in texts):
            raise UsageError("a prompt is empty; fill it in backgrounds.toml or in the class list")
        order = sorted(range(len(texts)), key=lambda place: (len(texts[place]), texts[place]))
        rows: dict[int, NDArray[np.float32]] = {}
        for start in range(0, len(order), TEXT_BATCH):
            places = order[start : start + TEXT_BATCH]
            tokens = self._tokenise([texts[place] for place in places])
            encoded = self._runner.call(self._runner.module.encode_text, tokens)
            rows.update(zip(places, unit_rows(encoded), strict=True))
        return np.stack([rows[place] for place in range(len(texts))]) if texts else np.empty((0, 0), np.float32)


def unit_rows(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows scaled to length 1; rows that are not finite stay as they are, to be turned away by name."""
    lengths = np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def require_architecture(name: str) -> dict[str, Any]:
    """Return open_clip's configuration of `ARCHITECTURE/...`; raises UsageError where it has none."""
    architecture = name.partition("/")[0]
    config: dict[str, Any] | None = model_library("open_clip").get_model_config(architecture)
    if config is None:
        raise UsageError(f"open_clip has no architecture {architecture!r}; see open_clip.list_models()")
    return config


def load_open_clip(name: str, *, spec: str, device: str) -> ContrastiveModel:
    """Load `open_clip:ARCHITECTURE/TAG` or `open_clip:ARCHITECTURE/PATH`.

    Raises
    ------
    UsageError
        If open_clip has no such architecture, the tag is unknown and no file, or the tag was trained with the other
        activation.
    EnvironmentFailure
        If the weights are neither here nor reachable.
    IntegrityError
        If the weight file does not fit the architecture, or holds more than tensors.
    """
    library = model_library("open_clip")
    require_safe_torch()
    architecture, _, tag = name.partition("/")
    config = require_architecture(name)
    published = library.get_pretrained_cfg(architecture, tag)
    _require_activation(library, architecture, tag, quick=bool(config.get("quick_gelu", False)))
    path = weight_file(name)
    digest = weights_digest(path)
    if not published:
        _require_activation_of_known(library, architecture, digest, quick=bool(config.get("quick_gelu", False)))
    try:
        module = library.create_model(
            architecture, pretrained=str(path), force_preprocess_cfg=_preprocess_of(published), weights_only=True
        )
    except Exception as error:
        raise _load_failure(path, architecture) from error
    tokenizer = library.get_tokenizer(architecture)
    settings = module.visual.preprocess_cfg
    frame = frame_of_open_clip(settings)
    identity = ModelIdentity(
        spec=spec,
        family="clip",
        architecture=architecture,
        weights_sha256=digest,
        lineage=(f"open_clip:{architecture.removesuffix('-quickgelu')}/{tag if published else digest}",),
        activation=activation_of(module, config),
        preprocessing=frame.key,
        tokenizer=type(tokenizer).__name__,
        versions=library_versions("open_clip_torch"),
    )
    runner = Runner(module, device_for(device), mean=settings["mean"], std=settings["std"])
    return ContrastiveModel(identity, frame, runner, lambda texts: np.asarray(tokenizer(texts), dtype=np.int64))


def activation_of(module: Any, config: dict[str, Any]) -> str:
    """Return the activation that the built text or image blocks really have, as a class name."""
    for tower in (getattr(module, "visual", None), module):
        blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
        if blocks:
            return type(blocks[0].mlp.gelu).__name__
    return "QuickGELU" if config.get("quick_gelu") else "GELU"


def weight_file(name: str, *, ask: bool = True) -> Path:
    """Return the weight file of `ARCHITECTURE/TAG` or `ARCHITECTURE/PATH`; raises as `load_open_clip`, `ask` as for `hub_file`."""
    architecture, _, tag = name.partition("/")
    published = model_library("open_clip").get_pretrained_cfg(architecture, tag)
    if published:
        return open_clip_weights(architecture, tag, published, ask=ask)
    path = Path(tag)
    if path.suffix or path.is_absolute() or "/" in tag:
        if not path.is_file():
            raise EnvironmentFailure(f"weight file {path} is missing; put it there and run again")
        return path
    raise UsageError(
        f"open_clip has no weights {tag!r} for {architecture}; see open_clip.list_pretrained_tags_by_model('{architecture}')"
    )


def _require_activation(library: Any, architecture: str, tag: str, *, quick: bool) -> None:
    """Refuse a published tag under the architecture with the other activation; raises UsageError with the right name."""
    plain = architecture.removesuffix("-quickgelu")
    published = library.get_pretrained_cfg(architecture, tag)
    if published:
        right = f"{plain}-quickgelu" if published.get("quick_gelu") else plain
        fits = bool(published.get("quick_gelu", False)) == quick
    else:  # open_clip lists some tags under one of the two names only
        right = plain if architecture != plain else f"{plain}-quickgelu"
        fits = not library.get_pretrained_cfg(right, tag)
    if not fits:
        raise UsageError(f"weights {tag} were trained with the other activation; use open_clip:{right}/{tag}")


def _require_activation_of_known(library: Any, architecture: str, digest: str, *, quick: bool) -> None:
    """Refuse a local file that is a published one under an architecture with the other activation; raises UsageError.

    Published addresses carry a digest, or its first eight digits before the suffix; a file under another name has the same.
    """
    for name, tag in library.list_pretrained():
        published = library.get_pretrained_cfg(name, tag)
        promised = {part for part in re.split(r"[-./]", str(published.get("url", ""))) if len(part) in {8, 64}}
        known = any(digest.startswith(part) for part in promised)
        if known and bool(published.get("quick_gelu", False)) != quick:
            plain = architecture.removesuffix("-quickgelu")
            right = plain if quick else f"{plain}-quickgelu"
            raise UsageError(
                f"this file holds the weights {tag}, trained with the other activation; use open_clip:{right}/..."
            )


def _preprocess_of(published: dict[str, Any]) -> dict[str, Any]:
    wanted = ("mean", "std", "interpolation", "resize_mode")
    return {key: published[key] for key in wanted if published and key in published}


def frame_of_open_clip(settings: dict[str, Any]) -> Frame:
    """Return the frame that open_clip's preprocessing settings (`visual.preprocess_cfg`) stand for."""
    size = settings["size"]
    side = int(size if isinstance(size, int) else size[0])
    fits: dict[str, Literal["crop", "squash", "pad"]] = {"shortest": "crop", "squash": "squash", "longest": "pad"}
    fit: Fit = fits[settings.get("resize_mode", "shortest")]
    return Frame(side, side, settings.get("interpolation", "bicubic"), fit, int(settings.get("fill_color", 0) or 0))


def _load_failure(path: Path, architecture: str) -> IntegrityError:
    """Return why open_clip could not load a file: it holds more than tensors, or tensors of another architecture."""
    try:
        read_weights(path)
    except IntegrityError as refused:
        return refused
    return IntegrityError(f"weight file {path} does not fit {architecture}; name the architecture it was made with")
