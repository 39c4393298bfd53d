"""From a model's spec to a loaded model.

Decides the forms that a spec can have and which module loads each. Imports none of them, and no torch, before it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.models.plugins import load_plugin, plugin_kinds
from counteranimal.models.protocol import Model
from counteranimal.models.runtime import DType, OnRunner
from counteranimal.settings import Settings

__all__ = ["FORMS", "find_weights", "load_model", "require_known", "trunk_of"]

FORMS = (
    "stand-in",
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
    "open_clip:ARCHITECTURE/TAG_OR_FILE",
    "timm:NAME",
    "torchvision:NAME",
)

_TRUNKS = {"stand-in": "efficientnet-lite2"}


def trunk_of(spec: str) -> str:
    """Return the spec of the model under whose name this one's image features are stored: its trunk's, or its own."""
    return _TRUNKS.get(spec, spec)


def load_model(spec: str, *, settings: Settings, dtype: DType = "float32") -> Model:
    """Load the model that a spec names, on the device that the settings name.

    Parameters
    ----------
    spec : str
        One of `FORMS`, for example `open_clip:ViT-B-32-quickgelu/laion400m_e32`.
    settings : Settings
        `device` and `cache_folder` are read.
    dtype : str
        `float32`, the reference, `bfloat16` or `float16`; the model's identity, and so what is stored under it, differs between them.

    Returns
    -------
    Model
        A `Classifier` (own head) or an `ImageTextModel` (texts beside images).

    Raises
    ------
    UsageError
        For a spec of no known form, or one that names an unknown model.
    MissingDependency
        If a package that holds the weights is not installed.
    EnvironmentFailure
        If the weights are neither here nor reachable.
    IntegrityError
        If a weight file is not the pinned one or holds more than tensors.
    """
    if spec.partition(":")[0] in plugin_kinds():
        if dtype != "float32":
            raise UsageError(f"{spec} is a plug-in's model, which runs in its own precision; leave {dtype} out")
        return load_plugin(spec, settings=settings)
    loaded = _load(spec, settings)
    return cast("Model", loaded if dtype == "float32" else loaded.in_dtype(dtype))


def _load(spec: str, settings: Settings) -> OnRunner:
    kind, _, name = spec.partition(":")
    if kind in {"timm", "torchvision"} and name:
        from counteranimal.models import classifiers

        load = classifiers.load_timm if kind == "timm" else classifiers.load_torchvision
        return load(name, spec=spec, device=settings.device)
    if kind == "open_clip" and "/" in name:
        from counteranimal.models.contrastive import load_open_clip

        return load_open_clip(name, spec=spec, device=settings.device)
    if spec == "stand-in":
        from counteranimal.models.standin import load_stand_in

        return load_stand_in(settings=settings)
    if spec in FORMS:
        from counteranimal.models.embedded import load_lite

        return load_lite(spec, device=settings.device)
    raise _unknown(spec)


def find_weights(specs: Sequence[str]) -> dict[str, Path]:
    """Return the weight file of each model that has one of its own, fetching what is not on this machine.

    Embedded models have none: their weights are in installed packages.

    Raises
    ------
    EnvironmentFailure
        If files are missing that the network does not give; the sentence names all of them, and the network is asked in vain once.
    UsageError, IntegrityError, UpstreamError
        As `load_model` does.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    for spec in specs:
        try:
            path = _weight_file(spec, ask=not missing)
        except EnvironmentFailure as error:
            missing.append(str(error))
        else:
            found |= {spec: path} if path is not None else {}
    if len(missing) > 1:
        first = [sentence.partition(" are not on this machine")[0] for sentence in missing[1:]]
        raise EnvironmentFailure(f"{missing[0]}; {len(missing)} models lack theirs, beside it: {'; '.join(first)}")
    if missing:
        raise EnvironmentFailure(missing[0])
    return found


def _weight_file(spec: str, *, ask: bool) -> Path | None:
    kind, _, name = spec.partition(":")
    if kind == "open_clip":
        from counteranimal.models.contrastive import weight_file

        return weight_file(name, ask=ask)
    if kind in {"timm", "torchvision"}:
        from counteranimal.models import classifiers, hub

        if kind == "timm":
            return hub.timm_weights(name, classifiers.published_timm(name), ask=ask)
        return hub.torchvision_weights(name, classifiers.published_torchvision(name).url, ask=ask)
    return None


def require_known(spec: str) -> None:
    """Raise UsageError if no model has this spec; nothing is downloaded, and torch is imported for libraries' names alone."""
    kind, _, name = spec.partition(":")
    if kind in plugin_kinds():
        return
    if kind in {"timm", "torchvision"} and name:
        from counteranimal.models import classifiers

        if kind == "timm":
            classifiers.published_timm(name)
        else:
            classifiers.published_torchvision(name)
    elif kind == "open_clip" and "/" in name:
        from counteranimal.models.contrastive import require_architecture

        require_architecture(name)
    elif spec not in FORMS or ":" in spec:
        raise _unknown(spec)


def _unknown(spec: str) -> UsageError:
    forms = [*FORMS, *(f"{kind}:NAME" for kind in plugin_kinds())]
    return UsageError(f"unknown model {spec!r}; use one of {', '.join(forms)}")
