"""Models: loading, identity records, embeddings; one protocol over every family.

Importing this package imports no torch; `load_model` does, once it knows which family is wanted.
"""

from counteranimal.models.plugins import wrap_classifier
from counteranimal.models.preprocessing import Frame
from counteranimal.models.protocol import (
    Classifier,
    ImageTextModel,
    Model,
    ModelIdentity,
    OnTrunk,
    Preprocessing,
    SceneModel,
)
from counteranimal.models.registry import FORMS, load_model

__all__ = [
    "FORMS",
    "Classifier",
    "Frame",
    "ImageTextModel",
    "Model",
    "ModelIdentity",
    "OnTrunk",
    "Preprocessing",
    "SceneModel",
    "load_model",
    "wrap_classifier",
]
