"""From evidence to background probabilities, on numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.recipe import backgrounds
from counteranimal.score import backgrounds as score_backgrounds
from counteranimal.score.backgrounds import (
    SCENES,
    prompt_features,
    prompt_probabilities,
    scene_probabilities,
)
from counteranimal.score.measure import may_tune_on, measure
from counteranimal.score.scenes import SCENE_CLASSES, scene_weights
from tests.fakes.word_model import WordModel

VOCABULARY = tuple(name for name, item in backgrounds().items() if item.decides)
LAKE, SOFA, LION = 975, 831, 291


def photo(*seen: int) -> np.ndarray:
    """Logits of a photo at whose border these classes are seen."""
    logits = np.zeros(1000, np.float32)
    logits[list(seen)] = 12.0
    return logits


def test_every_background_of_the_vocabulary_has_scenes_and_no_animal_is_one() -> None:
    """So that no background can be read off the animal."""
    assert set(SCENE_CLASSES) == set(VOCABULARY)
    assert min(index for classes in SCENE_CLASSES.values() for index in classes) >= 398
    weights = scene_weights(VOCABULARY)
    assert set(np.round(weights.sum(axis=1), 9)) <= {0.0, 1.0}


def test_scenes_become_backgrounds() -> None:
    """A lakeside says water, a sofa says indoor, and probabilities add up."""
    found = scene_probabilities(np.stack([photo(LAKE), photo(SOFA)]), VOCABULARY)
    assert [VOCABULARY[place] for place in found.argmax(axis=1)] == ["water", "indoor"]
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    assert found.dtype == np.float32


def test_the_animal_says_nothing_about_its_background() -> None:
    """However sure the classifier is of it."""
    corpus = np.stack([photo(LAKE), photo(SOFA)])
    with_lions = corpus.copy()
    with_lions[:, LION] = 30.0
    np.testing.assert_array_equal(scene_probabilities(with_lions, VOCABULARY), scene_probabilities(corpus, VOCABULARY))


def test_what_every_photo_shows_says_little_about_one() -> None:
    """In a corpus that always looks indoor, a hint of water counts for more than it does alone."""
    mixed = photo(SOFA)
    mixed[LAKE] = 11.5
    corpus = np.stack([mixed, *[photo(SOFA)] * 20])
    alone = scene_probabilities(corpus[:1], VOCABULARY)[0]
    among = scene_probabilities(corpus, VOCABULARY)[0]
    water = VOCABULARY.index("water")
    assert among[water] > alone[water]
    assert VOCABULARY[int(among.argmax())] == "water"


def test_the_order_of_photos_and_of_words_changes_nothing() -> None:
    """Columns follow the vocabulary given."""
    logits = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32)
    found = scene_probabilities(logits, VOCABULARY)
    np.testing.assert_allclose(scene_probabilities(logits[::-1], VOCABULARY)[::-1], found, atol=1e-6)
    np.testing.assert_allclose(scene_probabilities(logits, VOCABULARY[::-1])[:, ::-1], found, atol=1e-6)


def test_an_unknown_background_cannot_be_read_off_scenes() -> None:
    """The sentence says what can be done."""
    with pytest.raises(UsageError, match=r"'moon'.*image-text model"):
        scene_weights(["grass", "moon"])


@pytest.mark.case("E08")
def test_evidence_that_is_not_finite_is_refused() -> None:
    """By both methods."""
    bad = photo(LAKE)[None]
    bad[0, 500] = np.inf
    with pytest.raises(IntegrityError, match="not finite"):
        scene_probabilities(bad, VOCABULARY, SCENES)
    with pytest.raises(IntegrityError, match="not finite"):
        prompt_probabilities(np.full((1, 16), np.nan, np.float32), np.zeros((2, 16), np.float32))


def test_prompts_find_the_photo_that_matches_them() -> None:
    """Each background's own prompt vector, taken for a photo, is given to that background."""
    prompts = prompt_features(WordModel(), VOCABULARY)
    np.testing.assert_allclose(np.linalg.norm(prompts, axis=1), 1.0, atol=1e-6)
    found = prompt_probabilities(prompts, prompts)
    assert found.argmax(axis=1).tolist() == list(range(len(VOCABULARY)))


@pytest.mark.case("E08")
def test_a_background_without_prompts_is_refused() -> None:
    """`other` has none and forms no group."""
    with pytest.raises(UsageError, match="'other' has no prompts"):
        prompt_features(WordModel(), ["grass", "other"])


@pytest.mark.case("E08")
@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        (("a photo on grass", " "), "background 'snow' has an empty prompt"),
        (("in snow", "in snow "), "prompt 'in snow' stands twice"),
        ((backgrounds()["grass"].prompts[0],), f"prompt '{backgrounds()['grass'].prompts[0]}' stands twice"),
    ],
)
def test_an_empty_or_repeated_prompt_is_refused(
    prompts: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one says nothing; one that stands twice, within a background or in two, counts twice. No text is read."""
    changed = backgrounds() | {"snow": backgrounds()["snow"].model_copy(update={"prompts": prompts})}
    monkeypatch.setattr(score_backgrounds, "backgrounds", lambda: changed)
    model = WordModel()
    with pytest.raises(UsageError, match=sentence):
        prompt_features(model, ["grass", "snow"])
    assert model.texts_read == 0


@pytest.mark.case("E08")
def test_a_text_tower_that_is_not_finite_is_refused() -> None:
    """Weights that overflow are no prompt of likeness 0."""

    class Overflowing(WordModel):
        def text_features(self, texts: Sequence[str]) -> np.ndarray:
            return super().text_features(texts) * np.float32(np.inf)

    with pytest.raises(IntegrityError, match="text tower of words gave features that are not finite"):
        prompt_features(Overflowing(), ["grass", "snow"])


def test_no_photos_have_no_probabilities() -> None:
    """An empty corpus has no mean to take off."""
    assert scene_probabilities(np.empty((0, 1000), np.float32), VOCABULARY).shape == (0, len(VOCABULARY))


def test_agreement_counts_only_photos_with_both() -> None:
    """Accuracy, macro-F1 over the labels that occur, and the best constant answer."""
    found = measure({"a": "sky", "b": "sky", "c": "rock"}, {"a": "sky", "b": "grass", "d": "rock"})
    assert found == (2, 0.5, pytest.approx((2 / 3 + 0) / 2), 0.5)
    with pytest.raises(UsageError, match="no photo has both"):
        measure({}, {"a": "sky"})


def test_the_tuning_half_is_fixed() -> None:
    """About half, by the id alone."""
    chosen = [may_tune_on(f"{place:064x}") for place in range(2000)]
    assert 900 < sum(chosen) < 1100
