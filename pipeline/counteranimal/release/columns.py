"""What every column of a published table means, and which of them a row may leave empty.

Decides descriptions and the required columns; names, types and keys are decided in `tables`. The schema documents, the
Croissant description and the verifier read these, so that what is documented is what is checked.
"""

from __future__ import annotations

__all__ = ["DESCRIPTIONS", "OPTIONAL"]

_PHOTO = "sha256 of the photo's original bytes, 64 hexadecimal characters"
_CLASS = "class of the benchmark; `*` where one pair of backgrounds serves all classes"
_BACKGROUND = "background that annotators saw, in the vocabulary of backgrounds.toml"
_FOLD = "select (chose the pair of backgrounds) or report (only estimates)"
_SPLIT = "name of the split, one choice of backgrounds by one selecting model"
_MODEL = "specification of the model"
_GROUP = "common, counter, or other for photos on backgrounds that were not chosen"

DESCRIPTIONS: dict[str, dict[str, str]] = {
    "entries": {
        "photo_id": _PHOTO,
        "class_id": "class of the benchmark that the photo shows",
        "imagenet_indices": "ImageNet-1K indices that count as right",
        "background": _BACKGROUND,
        "codes": "remarks that annotators agreed on, such as hand_or_body",
        "source": "source of the recipe that offered the photo",
        "native_id": "the source's own id of the photo",
        "url": "where the original bytes were fetched; `file:` and a path inside the source's folder for a folder of photos",
        "page_url": "page for people that shows the photo with its terms",
        "kind": "photo, or composite for a cut-out animal placed on a scene photo",
        "licence": "SPDX identifier of the photo's own licence, with its version",
        "author": "author as credited; empty where the licence asks for no name",
        "attribution": "line to print beside the photo",
        "retrieved_at": "when the original bytes were fetched, UTC",
        "mime": "media type of the original bytes",
        "bytes": "length of the original bytes",
        "width": "width in pixels of the upright image",
        "height": "height in pixels of the upright image",
        "published_sha256": "sha256 of the published copy: no metadata, equal pixels",
        "published_bytes": "length of the published copy in bytes",
        "fold_unit": "unit that shares one fold; a person stands behind `person:` and a pseudonym",
        "fold": _FOLD,
        "n_votes": "votes that decided the background; 0 where it is given",
        "method": "how they decided: unanimous, majority or adjudicated; given where an archive states the background",
        "inclusion_probability": "probability that the sampling plan took the photo, in (0, 1]",
        "selector_model": "models that chose the splits, in the order of the splits, comma between",
        "selector_sha256": "sha256 of their weights, in the same order",
    },
    "splits": {
        "split": _SPLIT,
        "photo_id": _PHOTO,
        "class_id": "class of the photo",
        "background": _BACKGROUND,
        "group": _GROUP,
        "fold": _FOLD,
    },
    "pairs": {
        "split": _SPLIT,
        "class_id": _CLASS,
        "status": "pair, or no_pair where no two backgrounds qualify",
        "reason": "why there is no pair",
        "common": "background where the selecting model does best, on the select fold",
        "counter": "background where it does worst, on the select fold",
        "n_common_select": "photos on the common background, select fold",
        "n_counter_select": "photos on the counter background, select fold",
        "n_common_report": "photos on the common background, report fold",
        "n_counter_report": "photos on the counter background, report fold",
        "drop_select": "accuracy on common less accuracy on counter, select fold, fraction; inflated by the choice",
        "drop_report": "the same on the report fold, which chose nothing",
        "drop_report_low": "lower end of its 95 % interval",
        "drop_report_high": "upper end of its 95 % interval",
        "p_value": "one-sided level at which that lower end reaches 0",
        "confirmed": "Holm's procedure over classes with a pair rejects `no drop`",
        "unstable": "the two folds would choose different pairs",
    },
    "groups": {
        "split": _SPLIT,
        "class_id": _CLASS,
        "background": _BACKGROUND,
        "group": _GROUP,
        "fold": _FOLD,
        "model": _MODEL,
        "n": "photos",
        "n_effective": "photos that carry as much information once weights and shared units are counted",
        "correct": "photos that the model recognised",
        "accuracy": "weighted share of them, fraction",
        "low": "lower end of its 95 % interval",
        "high": "upper end of its 95 % interval",
    },
    "predictions": {
        "photo_id": _PHOTO,
        "model": _MODEL,
        "protocol": "candidate labels: 1v1000 or 1v20",
        "predicted": "ImageNet-1K index with the highest score",
        "rank": "rank of the best right index among the candidates, 1 = right",
        "margin": "best right score less best wrong score",
        "tied": "the best right and the best wrong score are equal",
        "correct": "the prediction counts as right",
    },
}

# Columns that may hold no value; all others are filled in every row.
OPTIONAL: dict[str, frozenset[str]] = {
    "entries": frozenset({"author", "page_url"}),
    "splits": frozenset(),
    "pairs": frozenset(DESCRIPTIONS["pairs"]) - {"split", "class_id", "status"},
    "groups": frozenset({"accuracy", "low", "high", "n_effective"}),
    "predictions": frozenset({"rank", "margin"}),
}
