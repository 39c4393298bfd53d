"""release.json: what a release says of itself.

Decides its keys and their types, and that the file is canonical JSON (RFC 8785), so that one content has one spelling. Leaves
whether what it says is true to `verify`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counteranimal.errors import IntegrityError
from counteranimal.release import strict_json
from counteranimal.release.layout import FORMAT, MANIFEST

__all__ = [
    "Balance",
    "ClassRecord",
    "Conserved",
    "Counts",
    "Difference",
    "Estimate",
    "FileRecord",
    "Manifest",
    "Photos",
    "ReferenceRecord",
    "SplitRecord",
    "parse",
    "render",
]

Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=0, le=999)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileRecord(_Strict):
    """Digest and length in bytes of one file of the release."""

    sha256: Digest
    bytes: Count


class ClassRecord(_Strict):
    """One class: the indices that count as right and the 20 candidates of the 1-vs-20 protocol (none: not computed)."""

    id: str
    name: str
    imagenet_indices: Annotated[list[Index], Field(min_length=1)]
    candidates_1v20: list[Index]


class SplitRecord(_Strict):
    """One named split: the identity record of the model that selected, and the rule it selected by."""

    name: str
    selector: dict[str, Any]
    rule: dict[str, Any]


class Counts(_Strict):
    """Rows of each table, photos by kind and by licence, and votes behind the published backgrounds."""

    entries: Count
    splits: Count
    pairs: Count
    groups: Count
    predictions: Count
    votes: Count
    kinds: dict[str, Count]
    licences: dict[str, Count]


class Conserved(_Strict):
    """Every candidate ever discovered, by the one state it is in; `reasons` splits states that carry a code."""

    discovered: Count
    states: dict[str, Count]
    reasons: dict[str, Count]


class Photos(_Strict):
    """What became of the photos kept after duplicates were removed: published, or left out for a reason."""

    kept: Count
    published: Count
    left_out: dict[str, Count]


class ReferenceRecord(_Strict):
    """One hash list of a training or reference set that the photos were compared with.

    `overlaps` counts photos that were dropped for it before labelling, `unsure` those that may be in it and were not dropped.
    """

    name: str
    sha256: Digest
    recipe: str
    hashes: Count
    unreadable: Count
    overlaps: Count
    unsure: Count


class Estimate(_Strict):
    """A macro drop as a fraction with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Difference(_Strict):
    """A standardised mean difference within class, common minus counter, before and after weighting."""

    before: float
    after: float


class Balance(_Strict):
    """How the two groups of a split differ besides the background, on the photos that estimate.

    `n` photos of the groups were compared, `without_measures` lack a covariate, and the covariates of `left_out` were measured
    on no photo. Then, unless fewer than 10 photos a group are left: the differences by covariate, the selector's macro drop, the
    same under overlap weights that make the groups alike, and the share of it that remains (null where the drop is not above 0).
    """

    n: Count
    without_measures: Count
    left_out: list[str]
    differences: dict[str, Difference] = {}
    drop: Estimate | None = None
    drop_weighted: Estimate | None = None
    remaining: float | None = None


class Manifest(_Strict):
    """The whole of release.json."""

    format: Literal["counteranimal-release/1"] = FORMAT
    name: str
    title: str
    version: Annotated[str, Field(pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$")]
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
    predecessor: str | None
    made_with: dict[str, str]
    seed: str
    classes: Annotated[list[ClassRecord], Field(min_length=1)]
    backgrounds: Annotated[list[str], Field(min_length=1, description="words that can form a group")]
    undecided: Annotated[list[str], Field(description="words for answers that never form a group")]
    licences: list[str]
    splits: Annotated[list[SplitRecord], Field(min_length=1)]
    counts: Counts
    conservation: Conserved
    photos: Photos
    references: list[ReferenceRecord] = Field(
        default=[],
        description="hash lists the photos were compared with; empty, or absent in releases made before there were any: not checked",
    )
    covariates: dict[str, Balance] = Field(
        default={},
        description="split -> how its groups differ besides the background; rounded to 4 decimals; absent in older releases",
    )
    recipe: dict[str, Any]
    caveats: list[str]
    signed_by: Digest | None = Field(description="raw Ed25519 public key in hexadecimal; null for an unsigned release")
    files: dict[str, FileRecord]


def render(manifest: Manifest) -> bytes:
    """Return the one spelling of a manifest."""
    absent = {"references", "covariates"} - manifest.model_fields_set
    return rfc8785.dumps(manifest.model_dump(mode="json", exclude=absent))


def parse(data: bytes) -> Manifest:
    """Read release.json.

    Raises
    ------
    IntegrityError
        With the place: not strict JSON, a format this version does not know, an unknown or missing key, a value of the wrong
        type, or another spelling than the canonical one.
    """
    content = strict_json.loads(data, name=MANIFEST)
    if not isinstance(content, dict):
        raise IntegrityError(f"{MANIFEST} is no JSON object; get the release again")
    if content.get("format") != FORMAT:
        raise IntegrityError(
            f"{MANIFEST} at $.format: {content.get('format')!r} is not {FORMAT!r}; read this release with the version of "
            "counteranimal that it was made for"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(("$", *(str(part) for part in first["loc"])))
        raise IntegrityError(f"{MANIFEST} at {place}: {first['msg']}; get the release again") from error
    if render(manifest) != data:
        raise IntegrityError(f"{MANIFEST} is not canonical JSON (RFC 8785); get the release again")
    return manifest
