"""Turns image features into 1,000 logits, for models with a head of their own and for models that read texts.

Decides how prompts become a classifier: unit text features, averaged over the templates, made unit again; a class's logit is
its cosine similarity with the photo. The classifier of an image-text model is kept on disk under a digest of all that decides
it, since its text tower may take minutes.

The tie rule: among equal logits the lower class index wins, and the prediction is flagged `tied`.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import IntegrityError
from counteranimal.ids import digest_of
from counteranimal.models.protocol import Classifier, ImageTextModel, Model
from counteranimal.progress import Estimate
from counteranimal.workspace import write_atomically
from counteranimal.zeroshot.names import class_names
from counteranimal.zeroshot.templates import fill, template_texts

__all__ = ["Top", "class_logits", "text_classifier", "top_one"]

VERSION = "1"


class Top(NamedTuple):
    """Predictions of n photos: class index (int64), whether another class had the very same logit (bool)."""

    winner: NDArray[np.int64]
    tied: NDArray[np.bool_]


def class_logits(
    model: Model, features: NDArray[np.float32], *, names: str = "wordnet", templates: str = "paper", cache: Path
) -> NDArray[np.float32]:
    """Return the logits of the 1,000 ImageNet classes.

    Parameters
    ----------
    model : Model
        A `Classifier` answers with its own head, for which names and templates mean nothing.
    features : array of shape (n, d), float32
        What `model.features` returned.
    names, templates : str
        Name list (`wordnet`, `openai`) and templates (`paper`, `openai80`) of an image-text model.
    cache : Path
        Folder in which classifiers of image-text models are kept.

    Returns
    -------
    array of shape (n, 1000), float32
        In ImageNet-1K index order. Cosine similarities for an image-text model.

    Raises
    ------
    IntegrityError
        If a feature is not finite: a score would silently be 0 or wrong.
    """
    if not np.isfinite(features).all():
        raise IntegrityError("some image features are not finite; leave those photos out, as the scores table does")
    if len(features) == 0:
        return np.empty((0, 1000), np.float32)
    if isinstance(model, Classifier):
        return model.head_logits(features)
    if not isinstance(model, ImageTextModel):
        raise IntegrityError(f"model {model.identity.spec} has neither a head nor a text tower; load another")
    weights = text_classifier(model, names=names, templates=templates, cache=cache)
    return np.asarray(features @ weights.T, dtype=np.float32)


def text_classifier(model: ImageTextModel, *, names: str, templates: str, cache: Path) -> NDArray[np.float32]:
    """Return the (1000, d) float32 unit class weights of an image-text model, from the cache where they are there.

    Raises
    ------
    IntegrityError
        If the text tower gives features that are not finite.
    """
    labels, sentences = class_names(names), template_texts(templates)
    identity = model.identity
    digest = digest_of(VERSION, identity.key(), identity.tokenizer, *labels, *sentences)
    path = cache / "classifiers" / f"{identity.key()}-{names}-{templates}-{digest[:16]}.array"
    kept = _read(path)
    if kept is not None:
        return kept
    total: NDArray[np.float64] | None = None
    estimate = Estimate(f"{identity.spec}, reading {len(labels):,} names", len(sentences), unit="templates")
    for template in sentences:
        part = model.text_features([fill(template, label) for label in labels]).astype(np.float64)
        total = part if total is None else total + part
        estimate.advance(1)
    if total is None or not np.isfinite(total).all():
        raise IntegrityError(f"the text tower of {identity.spec} gave features that are not finite; check its weights")
    weights = np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True), dtype=np.float32)
    _write(path, weights)
    return weights


def top_one(logits: NDArray[np.float32]) -> Top:
    """Return the best class of each row under the tie rule: the lower index wins, and the row is flagged.

    Examples
    --------
    >>> top_one(np.array([[0.5, 0.7, 0.7], [1.0, 0.0, 0.5]], np.float32))
    Top(winner=array([1, 0]), tied=array([ True, False]))
    """
    best = logits.max(axis=1, keepdims=True)
    return Top(np.argmax(logits, axis=1), (logits == best).sum(axis=1) > 1)


def _read(path: Path) -> NDArray[np.float32] | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        return None  # torn or edited: it is only a cache, so it is made again
    weights = np.load(io.BytesIO(body), allow_pickle=False)
    return np.asarray(weights, dtype=np.float32)


def _write(path: Path, weights: NDArray[np.float32]) -> None:
    body = io.BytesIO()
    np.save(body, weights, allow_pickle=False)
    write_atomically(path, hashlib.sha256(body.getvalue()).digest() + body.getvalue())
