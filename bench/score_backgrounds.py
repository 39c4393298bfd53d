"""How well machine backgrounds agree with people's, on the shared photos: `python bench/score_backgrounds.py`.

Decides the comparison: three methods on one model (the stand-in; no CLIP weights lie here), each half of the photos by itself,
against each of two labellings, beside the best constant answer and the agreement of the two labellings as the ceiling. The tuning
half is what the method's four numbers were chosen on; only the reporting half says how good it is. Not CLIP's figures.

* **scenes**: what the recipe gets (`counteranimal.score.backgrounds`).
* **prompts**: the vocabulary's class-neutral prompts, as an image-text model is scored.
* **class prompts**: prompts that name the class the model sees ("a photo of a tabby taken on grass"). A comparison only: a
  proposal that knows the class carries the class score into the background.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counteranimal.recipe import backgrounds
from counteranimal.score.backgrounds import ABSTAIN_BELOW, prompt_features, prompt_probabilities, scene_probabilities
from counteranimal.score.measure import measure
from counteranimal.zeroshot import class_logits, top_one
from counteranimal.zeroshot.names import class_names

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure, cpu_seconds
from bench.shared_photos import Labelled, features, interval, labelled, settings, stand_in

VOCABULARY = tuple(name for name, item in backgrounds().items() if item.decides)
DRAWS, BINS = 2_000, 5
Words = Sequence[str]


def _by_method(
    photos: list[Labelled], model: Any, store: Path
) -> tuple[dict[str, NDArray[np.float32]], list[bool | None]]:
    """Return method -> probabilities (n, backgrounds), and whether each photo's class was right (None: it has none)."""
    reader = model.scene_reader()
    scenes = reader.head_logits(features(photos, reader, "whole", store))
    whole, centre = (features(photos, model, view, store) for view in ("whole", "centre"))
    winners = top_one(class_logits(model, centre, cache=settings().cache_folder)).winner
    right = [
        bool(winner in photo.indices) if photo.indices else None for photo, winner in zip(photos, winners, strict=True)
    ]
    methods = {
        "scenes": scene_probabilities(scenes, VOCABULARY),
        "prompts": prompt_probabilities(whole, prompt_features(model, VOCABULARY)),
        "class prompts": _class_prompts(model, whole, winners),
    }
    return methods, right


def _class_prompts(model: Any, whole: NDArray[np.float32], winners: NDArray[np.int64]) -> NDArray[np.float32]:
    names, kinds = class_names("openai"), np.unique(winners)
    bare = [backgrounds()[word].prompts[0].removeprefix("a photo") for word in VOCABULARY]
    texts = model.text_features([f"a photo of a {names[kind]}{phrase}" for kind in kinds for phrase in bare])
    own = texts.reshape(len(kinds), len(bare), -1)[np.searchsorted(kinds, winners)]
    # Each photo has its own prompts, so that similarities come first and are calibrated like the others.
    similar = np.einsum("nd,nbd->nb", whole, own).astype(np.float32)
    return prompt_probabilities(similar, np.eye(len(bare), dtype=np.float32))


def _named(probabilities: NDArray[np.float32]) -> list[str]:
    return [VOCABULARY[place] for place in probabilities.argmax(axis=1)]


def _f1_text(named: Words, truth: Words, rng: np.random.Generator) -> str:
    """Return macro-F1 with a percentile interval over photos drawn with replacement."""
    codes = {word: code for code, word in enumerate(sorted({*named, *truth}))}
    a, b = (np.array([codes[word] for word in words]) for words in (named, truth))
    drawn = [_macro_f1(a[chosen], b[chosen]) for chosen in rng.integers(0, a.size, (DRAWS, a.size))]
    return f"{_macro_f1(a, b):.3f} [{np.quantile(drawn, 0.025):.3f}, {np.quantile(drawn, 0.975):.3f}]"


def _macro_f1(named: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    size = int(max(named.max(), truth.max())) + 1
    counted, said = np.bincount(truth, minlength=size), np.bincount(named, minlength=size)
    right = np.bincount(truth[named == truth], minlength=size)
    return float((2 * right[counted > 0] / (counted + said)[counted > 0]).mean())


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _accuracies(photos: list[Labelled], methods: Mapping[str, NDArray[np.float32]], rng: np.random.Generator) -> None:
    rows = []
    for half, tuned in (("tuning", True), ("reporting", False)):
        inside = [place for place, photo in enumerate(photos) if photo.tuned == tuned]
        for which in (0, 1):
            truth = [photos[place].backgrounds[which] for place in inside]
            other = [photos[place].backgrounds[1 - which] for place in inside]
            said = {name: [_named(found)[place] for place in inside] for name, found in methods.items()}
            constant = [max(sorted(set(truth)), key=truth.count)] * len(truth)
            for name, named in {**said, "best constant": constant, "the other labelling": other}.items():
                right = sum(a == b for a, b in zip(named, truth, strict=True))
                rows.append([half, str(which + 1), name, interval(right, len(truth)), _f1_text(named, truth, rng)])
    _table("Agreement", ("half", "labelling", "method", "accuracy (photos)", "macro-F1"), rows)


def _calibration(photos: list[Labelled], found: NDArray[np.float32], rng: np.random.Generator) -> float:
    """Print reliability by bins of equal size on the reporting half, against labelling 1; return the calibration error."""
    inside = np.array([not photo.tuned for photo in photos])
    confidence = found.max(axis=1)[inside].astype(np.float64)
    named = [word for word, chosen in zip(_named(found), inside, strict=True) if chosen]
    truth = [photo.backgrounds[0] for photo in photos if not photo.tuned]
    right = np.array([a == b for a, b in zip(named, truth, strict=True)], dtype=float)
    order = np.argsort(confidence, kind="stable")
    rows = []
    for part in np.array_split(order, BINS):
        ends = f"{confidence[part].min():.2f}-{confidence[part].max():.2f}"
        rows.append([ends, f"{confidence[part].mean():.3f}", interval(int(right[part].sum()), part.size)])
    _table("Reliability, scenes, reporting half, labelling 1", ("confidence", "mean", "right"), rows)
    drawn = [_error(confidence[chosen], right[chosen]) for chosen in rng.integers(0, right.size, (DRAWS, right.size))]
    error = _error(confidence, right)
    print(
        f"\nexpected calibration error {error:.3f} [{np.quantile(drawn, 0.025):.3f}, {np.quantile(drawn, 0.975):.3f}]"
    )
    kept = confidence >= ABSTAIN_BELOW
    print(
        f"abstains below {ABSTAIN_BELOW}: proposes for {interval(int(kept.sum()), kept.size)}, "
        f"right {interval(int(right[kept].sum()), int(kept.sum()))}; withheld ones would be right "
        f"{interval(int(right[~kept].sum()), int((~kept).sum()))}"
    )
    return error


def _error(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return the expected calibration error over bins of equal size (Naeini, Cooper and Hauskrecht 2015)."""
    parts = np.array_split(np.argsort(confidence, kind="stable"), BINS)
    return sum(part.size * abs(float(confidence[part].mean() - right[part].mean())) for part in parts) / right.size


def _by_background(photos: list[Labelled], found: NDArray[np.float32]) -> None:
    inside = [
        (word, photo.backgrounds[0]) for word, photo in zip(_named(found), photos, strict=True) if not photo.tuned
    ]
    rows = []
    for word in VOCABULARY:
        both = sum(pair == (word, word) for pair in inside)
        true, said = sum(pair[1] == word for pair in inside), sum(pair[0] == word for pair in inside)
        if true or said:
            rows.append([word, interval(both, true), interval(both, said)])
    _table("By background, scenes, reporting half, labelling 1", ("background", "found of true", "true of found"), rows)


def _by_class_answer(
    photos: list[Labelled], methods: Mapping[str, NDArray[np.float32]], right: list[bool | None]
) -> None:
    rows = []
    for name, found in methods.items():
        cells = []
        for wanted in (True, False):
            judged = [
                word == photo.backgrounds[0]
                for word, photo, answer in zip(_named(found), photos, right, strict=True)
                if answer is wanted and not photo.tuned
            ]
            cells.append(interval(sum(judged), len(judged)))
        rows.append([name, *cells])
    _table(
        "Where the class was right or wrong, reporting half, labelling 1",
        ("method", "class right", "class wrong"),
        rows,
    )


def main() -> None:
    """Print every table and a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="every eighth photo: shows that it runs, and no more")
    parser.add_argument("--store", type=Path, help="keep features here between runs")
    given = parser.parse_args()
    photos, model, rng = labelled(every=8 if given.quick else 1), stand_in(), np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        seconds, (methods, right) = cpu_seconds(lambda: _by_method(photos, model, given.store or Path(folder)))
    print(f"{len(photos)} photos, {len(VOCABULARY)} backgrounds, {model.identity.spec} (not CLIP), {seconds:.0f} CPU s")
    _accuracies(photos, methods, rng)
    error = _calibration(photos, methods["scenes"], rng)
    _by_background(photos, methods["scenes"])
    _by_class_answer(photos, methods, right)
    print()
    report = {photo.photo_id: photo.backgrounds for photo in photos if not photo.tuned}
    for which in (0, 1):
        labels = {name: words[which] for name, words in report.items()}
        found = {
            name: measure(dict(zip((photo.photo_id for photo in photos), _named(table), strict=True)), labels)
            for name, table in methods.items()
        }
        ours = found["scenes"]
        for peer, value in (("constant", ours.majority), ("prompts", found["prompts"].accuracy)):
            print(
                Figure(
                    f"background_accuracy_labelling{which + 1}_against_{peer}", ours.accuracy, value, 1.0, "higher"
                ).line()
            )
    print(Figure("background_calibration_error", error, None, 0.15, "lower").line())


if __name__ == "__main__":
    main()
