"""Models that others bring: a package's own family by its entry point, or a torch module in memory.

Decides how a family is found and what is demanded of what it loads. A plug-in is a callable under the entry point group
`counteranimal.models`: called with the name behind the colon of a spec and the settings, it returns a model. Importing this
module imports no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from counteranimal.errors import MissingDependency, UsageError
from counteranimal.models.preprocessing import Frame
from counteranimal.models.protocol import Classifier, ImageTextModel, Model, ModelIdentity
from counteranimal.settings import Settings

__all__ = ["GROUP", "load_plugin", "plugin_kinds", "wrap_classifier"]

GROUP = "counteranimal.models"


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def plugin_kinds() -> list[str]:
    """Return the kinds of model that installed packages bring, as the word before the colon of a spec."""
    return sorted(_plugins())


def load_plugin(spec: str, *, settings: Settings) -> Model:
    """Load a model of an installed plug-in.

    Parameters
    ----------
    spec : str
        `KIND:NAME`, KIND one of `plugin_kinds`; the plug-in is called with NAME and the settings.

    Raises
    ------
    MissingDependency
        If the plug-in cannot be imported.
    UsageError
        If what it returns is no model, or does not bear the spec's name.
    """
    kind, _, name = spec.partition(":")
    entry = _plugins()[kind]
    try:
        load = cast("Callable[[str, Settings], Model]", entry.load())
    except (ImportError, AttributeError) as error:
        raise MissingDependency(
            f"the plug-in of {kind!r} ({entry.value}) cannot be imported ({error}); install what it needs"
        ) from error
    model = load(name, settings)
    if not isinstance(model, Classifier | ImageTextModel) or not isinstance(model.identity, ModelIdentity):
        raise UsageError(
            f"what {entry.value} returned for {spec} has no identity, or neither head_logits nor text_features; mend the plug-in"
        )
    if model.identity.spec != spec:
        raise UsageError(
            f"{entry.value} returned a model named {model.identity.spec!r} for {spec!r}; the identity's spec must be that name"
        )
    return model


def wrap_classifier(
    module: Any,
    spec: str,
    *,
    frame: Frame,
    normalisation: tuple[Sequence[float], Sequence[float]],
    device: str = "auto",
) -> Classifier:
    """Return a torch module that gives 1,000 ImageNet-1K logits as a model that can be evaluated.

    Parameters
    ----------
    module : torch.nn.Module
        Takes float32 photos of shape (n, 3, size, size), gives logits in ImageNet-1K index order, shape (n, 1000). It is moved to
        the device, in float32 and evaluation mode.
    spec : str
        The name under which results are written. The digest of all tensors stands beside it, so that other weights under the same
        name are never taken for these.
    frame : Frame
        Size, resize, interpolation and fit of the photos.
    normalisation : pair of 3 floats each
        Mean and standard deviation of channels scaled to 0..1.
    device : str
        As the setting `device`.

    Raises
    ------
    UsageError, EnvironmentFailure
        If the device is unknown or absent.
    """
    from counteranimal.models.classifiers import TorchvisionClassifier
    from counteranimal.models.compat import library_versions
    from counteranimal.models.runtime import Runner, device_for

    identity = ModelIdentity(
        spec=spec,
        family="imagenet",
        architecture=type(module).__name__,
        weights_sha256=_digest(module),
        preprocessing=frame.key,
        versions=library_versions("torch"),
    )
    mean, std = normalisation
    return TorchvisionClassifier(identity, frame, Runner(module, device_for(device), mean=mean, std=std))


def _digest(module: Any) -> str:
    """Return the sha256 over names, types, shapes and bytes of all tensors, by name."""
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(f"{name}\n{tensor.dtype}\n{tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
