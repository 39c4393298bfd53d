"""Background probabilities of photos: from class-neutral prompts, or from the scenes that a classifier sees at the border.

Decides the two methods and their calibration. A photo is scored against the corpus it belongs to: what a model says about
every photo alike (all of them look "indoor" to it) says nothing about one, so part of the corpus mean is taken off.

* **Prompts**, for image-text models: cosine similarity to the mean of each background's prompts, centred over the corpus,
  softmax. No prompt names an animal.
* **Scenes**, for classifiers and the stand-in: softmax over the 602 non-animal classes at the border of the frame, gathered
  into backgrounds by meaning (`scenes`), logarithm, most of the corpus mean off, softmax. Plain prompts serve the stand-in
  badly: it never saw a background and its caption together.

`SCENES` was tuned on one half of the shared labelled photos and is reported on the other; see `counteranimal.score.measure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError, Reason, UsageError
from counteranimal.models import ImageTextModel
from counteranimal.recipe import backgrounds
from counteranimal.score.scenes import scene_weights

__all__ = [
    "ABSTAIN_BELOW",
    "PROMPTS",
    "SCENES",
    "Calibration",
    "prompt_features",
    "prompt_probabilities",
    "scene_probabilities",
]

FIRST_SCENE = 398  # ImageNet-1K indices below this are animals


@dataclass(frozen=True, slots=True)
class Calibration:
    """How evidence becomes probabilities.

    Attributes
    ----------
    temperature : float
        Of the last softmax.
    centring : float
        Share of the corpus mean that is taken off, 0 to 1. All of it would also take off how common a background is.
    class_temperature : float
        Of the softmax over classes (scenes only).
    floor : float
        Added before the logarithm (scenes only), so that one missing class rules nothing out.
    """

    temperature: float
    centring: float
    class_temperature: float = 1.0
    floor: float = 1e-3


# Below this probability no background is proposed. On the tuning half the proposals it withholds were right once in five times.
ABSTAIN_BELOW = 0.3
SCENES = Calibration(temperature=0.1, centring=0.8, class_temperature=0.7)
PROMPTS = Calibration(temperature=0.01, centring=1.0)


def scene_probabilities(
    logits: NDArray[np.float32], vocabulary: Sequence[str], rule: Calibration = SCENES
) -> NDArray[np.float32]:
    """Return background probabilities from class logits read at the border, shape (n, len(vocabulary)), rows sum to 1.

    Parameters
    ----------
    logits : array of shape (n, 1000), float32
        In ImageNet-1K index order; the corpus is these n photos.
    vocabulary : sequence of str
        Backgrounds, in the order of the columns.
    rule : Calibration

    Raises
    ------
    UsageError
        If a background has no scene classes.
    IntegrityError
        If a logit is not finite.
    """
    _require_finite(logits)
    classes = _softmax(logits[:, FIRST_SCENE:].astype(np.float64) / rule.class_temperature)
    evidence = np.log(classes @ scene_weights(vocabulary)[FIRST_SCENE:] + rule.floor)
    return _calibrated(evidence, rule)


def prompt_probabilities(
    features: NDArray[np.float32], prompts: NDArray[np.float32], rule: Calibration = PROMPTS
) -> NDArray[np.float32]:
    """Return background probabilities from unit image features (n, d) and prompt features (b, d), shape (n, b).

    Raises
    ------
    IntegrityError
        If a feature is not finite.
    """
    with np.errstate(invalid="ignore"):
        similar = features @ prompts.T
    _require_finite(similar)  # a feature that is not finite leaves none of its row finite
    return _calibrated(similar.astype(np.float64), rule)


def prompt_features(model: ImageTextModel, vocabulary: Sequence[str]) -> NDArray[np.float32]:
    """Return one unit vector a background, the mean of its prompts, shape (len(vocabulary), d).

    Raises
    ------
    UsageError
        If a background has no prompts, or an empty one, or one prompt stands twice.
    IntegrityError
        If the text tower gives features that are not finite.
    """
    known = backgrounds()
    texts = [prompt.strip() for name in vocabulary for prompt in known[name].prompts]
    empty = [name for name in vocabulary if not all(prompt.strip() for prompt in known[name].prompts)]
    if empty:
        raise UsageError(f"background {empty[0]!r} has an empty prompt; fill it in backgrounds.toml or leave it out")
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise UsageError(f"prompt {twice[0]!r} stands twice in backgrounds.toml; leave one of them out")
    bare = [name for name in vocabulary if not known[name].prompts]
    if bare:
        raise UsageError(f"background {bare[0]!r} has no prompts; give it some in backgrounds.toml")
    embedded = model.text_features(texts)
    owner = np.repeat(np.arange(len(vocabulary)), [len(known[name].prompts) for name in vocabulary])
    if not np.isfinite(embedded).all():
        spec = model.identity.spec
        raise IntegrityError(f"the text tower of {spec} gave features that are not finite; check its weights")
    means = np.stack([embedded[owner == place].mean(axis=0) for place in range(len(vocabulary))])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), dtype=np.float32)


def _calibrated(evidence: NDArray[np.float64], rule: Calibration) -> NDArray[np.float32]:
    if not len(evidence):
        return np.empty(evidence.shape, np.float32)
    centred = evidence - rule.centring * evidence.mean(axis=0, keepdims=True)
    return _softmax(centred / rule.temperature).astype(np.float32)


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _require_finite(values: NDArray[np.float32]) -> None:
    if not np.isfinite(values).all():
        raise IntegrityError(
            f"a feature or logit is not finite ({Reason.NOT_FINITE}); check the model's weights, or delete its folder under "
            "tables/embeddings in the workspace and score again"
        )
