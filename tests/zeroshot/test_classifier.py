"""From features to logits: heads, prompts, the cache, ties, candidates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counteranimal.errors import IntegrityError
from counteranimal.settings import Settings
from counteranimal.zeroshot import class_logits, text_classifier, top20, top_one
from tests.fakes.tiny_model import TinyModel
from tests.fakes.word_model import WordModel


def _features(n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return WordModel().features(np.random.default_rng(1).integers(0, 256, (n, 1, 1, 3), dtype=np.uint8))


def test_a_text_classifier_is_made_once(tmp_path: Path) -> None:
    """The second model with the same weights reads no text."""
    first, second = WordModel(), WordModel()
    made = text_classifier(first, names="wordnet", templates="paper", cache=tmp_path)
    kept = text_classifier(second, names="wordnet", templates="paper", cache=tmp_path)
    np.testing.assert_array_equal(made, kept)
    assert (first.texts_read, second.texts_read) == (1000, 0)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-6)


def test_other_weights_names_or_templates_are_another_classifier(tmp_path: Path) -> None:
    """Nothing is taken from the cache that something else was made of."""
    for model, names in ((WordModel(), "wordnet"), (WordModel("1" * 64), "wordnet"), (WordModel(), "openai")):
        text_classifier(model, names=names, templates="paper", cache=tmp_path)
        assert model.texts_read == 1000
    assert len(list((tmp_path / "classifiers").iterdir())) == 3


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    """A torn file is only a cache."""
    made = text_classifier(WordModel(), names="wordnet", templates="paper", cache=tmp_path)
    path = next((tmp_path / "classifiers").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    again = WordModel()
    np.testing.assert_array_equal(text_classifier(again, names="wordnet", templates="paper", cache=tmp_path), made)
    assert again.texts_read == 1000


def test_logits_are_cosine_similarities(tmp_path: Path) -> None:
    """Between -1 and 1, one row a photo."""
    logits = class_logits(WordModel(), _features(4), cache=tmp_path)
    assert logits.shape == (4, 1000)
    assert np.abs(logits).max() <= 1 + 1e-6


def test_equal_names_tie_and_the_lower_index_wins(tmp_path: Path) -> None:
    """`crane` has one text and two classes, so a photo of one is a tied photo, answered 134."""
    model = WordModel()
    weights = text_classifier(model, names="wordnet", templates="paper", cache=tmp_path)
    top = top_one(class_logits(model, weights[[517, 9]], cache=tmp_path))
    assert top.winner.tolist() == [134, 9]
    assert top.tied.tolist() == [True, False]


def test_a_classifier_answers_with_its_own_head(tmp_path: Path) -> None:
    """Names and templates mean nothing to it."""
    model = TinyModel()
    features = model.features(np.zeros((2, 4, 4, 3), np.uint8))
    logits = class_logits(model, features, names="openai", templates="openai80", cache=tmp_path)
    np.testing.assert_array_equal(logits, model.head_logits(features))
    assert not (tmp_path / "classifiers").exists()


@pytest.mark.case("E08")
def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """Never a score of 0."""
    features = _features(2)
    features[1, 3] = np.nan
    with pytest.raises(IntegrityError, match="not finite"):
        class_logits(WordModel(), features, cache=tmp_path)


def test_no_photos_have_no_logits(tmp_path: Path) -> None:
    """And need no classifier."""
    assert class_logits(WordModel(), np.empty((0, 16), np.float32), cache=tmp_path).shape == (0, 1000)


def test_candidates_are_summed_over_the_class_and_ties_go_to_the_lower_index() -> None:
    """A label that one photo ranks first and the other last can lose to one that both like."""
    logits = np.zeros((3, 1000), np.float32)
    logits[0, 500], logits[1, 500] = 1.0, -1.0
    logits[:2, 40] = 0.4
    logits[2, 7] = 1.0
    lists = top20(logits, ["ostrich", "ostrich", "cock"])
    assert lists["ostrich"] == [40, *range(19)]
    assert lists["cock"][:2] == [7, 0]
    assert 9 not in lists["cock"][:2]


def test_candidates_do_not_depend_on_the_order_of_photos() -> None:
    """Sums are made in double precision."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 1000)).astype(np.float32)
    order = rng.permutation(200)
    assert top20(logits, ["a"] * 200) == top20(logits[order], ["a"] * 200)


def test_candidates_need_one_row_a_photo() -> None:
    """A mismatch is a bug somewhere, not a shorter list."""
    with pytest.raises(IntegrityError, match="one row a photo"):
        top20(np.zeros((2, 1000), np.float32), ["a"])


@pytest.mark.model
@pytest.mark.shared
def test_the_stand_in_names_real_animals(
    stand_in: Any, real_photos: dict[str, Image.Image], offline_settings: Settings
) -> None:
    """The samoyed and the chicken, among a thousand names."""
    crops = np.stack([stand_in.preprocessing.crop(image) for image in real_photos.values()])
    logits = class_logits(stand_in, stand_in.features(crops), cache=offline_settings.cache_folder)
    best = np.argsort(-logits, axis=1)[:, :10]
    named = dict(zip(real_photos, best, strict=True))
    assert 258 in named["samoyed_144.jpg"]
    assert {7, 8} & set(named["chicken.webp"].tolist())
