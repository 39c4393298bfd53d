"""The recipe: what a benchmark consists of, as one TOML file that a release publishes in full.

Decides classes, sources, licences, thresholds, splits and seeds, and refuses a recipe that names something unknown. Leaves to
each source what its own options mean, and to the stages how the work is done. Paths in a recipe are relative to its file.
"""

from __future__ import annotations

import csv
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from counteranimal.errors import RecipeError
from counteranimal.resources import resource

__all__ = [
    "AnnotateRules",
    "Background",
    "DedupeRules",
    "EvaluateRules",
    "Licences",
    "PaperPair",
    "Recipe",
    "RecipeClass",
    "ScoreRules",
    "SourceSpec",
    "SplitRule",
    "Taxon",
    "background_mapping",
    "backgrounds",
    "imagenet_classes",
    "load_recipe",
]

KNOWN_LICENCES = frozenset(
    {
        "CC0-1.0",
        "LicenseRef-Public-Domain",
        "PDDL-1.0",
        "CDLA-Permissive-1.0",
        "CDLA-Permissive-2.0",
        "Apache-2.0",
        "MIT",
    }
    | {
        "GPL-2.0-or-later",
        "GPL-3.0-or-later",
        "GFDL-1.2-only",
        "GFDL-1.2-or-later",
        "GFDL-1.3-or-later",
        "Artistic-2.0",
    }
    | {
        f"CC-{kind}-{version}"
        for kind in ("BY", "BY-SA", "BY-NC", "BY-NC-SA", "BY-ND", "BY-NC-ND")
        for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
    }
)
DEFAULT_LICENCES = tuple(
    sorted(
        {"CC0-1.0", "LicenseRef-Public-Domain"}
        | {
            f"CC-{kind}-{version}"
            for kind in ("BY", "BY-SA", "BY-NC", "BY-NC-SA")
            for version in ("1.0", "2.0", "2.5", "3.0", "4.0")
        }
    )
)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Taxon(_Frozen):
    """A taxon by scientific name and rank; `id` is the source's own number once pinned."""

    name: str
    rank: str = "species"
    id: int | None = None


class PaperPair(_Frozen):
    """The backgrounds that a published benchmark chose for a class, in this vocabulary; a note that decides nothing."""

    common: str
    counter: str

    @field_validator("common", "counter")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in backgrounds():
            raise ValueError(f"unknown background {value!r}; known are {', '.join(backgrounds())}")
        return value


class RecipeClass(_Frozen):
    """One class of the benchmark: one or several ImageNet-1K indices that count as right.

    `labels` are the words by which sources without taxonomy (folders, URL lists) name it.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    name: str
    imagenet: Annotated[tuple[int, ...], Field(min_length=1)]
    taxa: tuple[Taxon, ...] = ()
    labels: tuple[str, ...] = ()
    look_for: str = ""
    paper: PaperPair | None = Field(default=None, description="backgrounds that the paper chose; decides nothing")

    @field_validator("imagenet")
    @classmethod
    def _known_index(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        unknown = [index for index in value if not 0 <= index <= 999]
        if unknown:
            raise ValueError(f"unknown ImageNet-1K class {unknown[0]}; indices run from 0 to 999")
        return tuple(sorted(set(value)))


class SourceSpec(_Frozen):
    """One source of candidates: its plug-in, its options, and the limits it is asked under."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    kind: str
    options: dict[str, Any] = Field(default_factory=dict)
    hosts: tuple[str, ...] = Field(default=(), description="hosts this source may ask, and no others")
    loopback: tuple[str, ...] = Field(default=(), description="exact host:port pairs on loopback that may be asked")
    requests_per_minute: Annotated[int, Field(ge=1)] = 60
    requests_per_day: Annotated[int, Field(ge=1)] = 10_000
    bytes_per_hour: Annotated[int, Field(ge=1)] = 5_000_000_000
    bytes_per_day: Annotated[int, Field(ge=1)] = 24_000_000_000
    interval_seconds: Annotated[float, Field(ge=0)] = Field(default=1.0, description="between photos of one host")
    in_flight: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="photos at a time of one host")

    @field_validator("loopback")
    @classmethod
    def _exact_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pair in value:
            host, _, port = pair.rpartition(":")
            if host not in {"127.0.0.1", "[::1]", "localhost"} or not port.isdigit():
                raise ValueError(f"{pair!r} is no loopback host:port pair, such as 127.0.0.1:8080")
        return value


class Licences(_Frozen):
    """Which licences may enter a release, as SPDX identifiers; no-derivatives ones only when named here."""

    allow: tuple[str, ...] = DEFAULT_LICENCES

    @field_validator("allow")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(value) - KNOWN_LICENCES)
        if unknown:
            raise ValueError(f"unknown licence {unknown[0]!r}; use SPDX identifiers such as CC-BY-4.0")
        return tuple(sorted(set(value)))


class DedupeRules(_Frozen):
    """Radii in bits of 64, and limits of the second look at aligned grey pixels.

    `pixel_difference` (the whole picture) and `part_difference` (the worst of 8 x 8 cells) are mean absolute differences as a
    share of the photo's own contrast, once brightness is made equal. Measured on 286 photos under 19 kinds of edits: 0.19 and
    0.5 at most for true copies, heavy watermarks and borders apart; different animals on one scene differ by 0.62 or more.
    `similar_cosine`: how close two photos lie in the selector's features before one is searched inside the other for people.
    """

    phash_radius: Annotated[int, Field(ge=0, le=20)] = 14
    dhash_radius: Annotated[int, Field(ge=0, le=32)] = 14
    pixel_difference: Annotated[float, Field(gt=0, le=1)] = 0.2
    part_difference: Annotated[float, Field(gt=0, le=1)] = 0.5
    burst_seconds: Annotated[int, Field(ge=0)] = 60
    similar_cosine: Annotated[float, Field(gt=0, le=1)] = 0.7


class ScoreRules(_Frozen):
    """The model that proposes backgrounds; `whole` shows it the whole frame."""

    model: str = "stand-in"
    view: Literal["whole", "centre"] = "whole"
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="bfloat16 is for large models on an accelerator; selectors and evaluations always run in float32",
    )


class AnnotateRules(_Frozen):
    """How many people see a photo and when a round is good enough."""

    votes_per_photo: Annotated[int, Field(ge=1, le=9)] = 2
    gold: Annotated[int, Field(ge=0)] = 12
    gold_pass: Annotated[int, Field(ge=0)] = 10
    alpha_block: float = 0.67
    alpha_warn: float = 0.80
    photos_per_cell: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="photos sampled per class and machine background; none: all"
    )
    random_share: Annotated[float, Field(ge=0, le=1)] = 0.2


class SplitRule(_Frozen):
    """One named split: the selector and the rule of docs/explanation/discovery.md."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    selector: str = "stand-in"
    unit: Literal["class", "pool"] = "class"
    rule: Literal["roles", "paper"] = "roles"
    n_min: Annotated[int, Field(ge=1)] = 20
    min_difference: Annotated[float, Field(ge=0, le=100)] = Field(default=5.0, description="percentage points")
    gap_alpha: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.05, description="level of the Holm stamp")


class EvaluateRules(_Frozen):
    """What the bundled evaluation of a release runs by default."""

    models: tuple[str, ...] = ()
    protocols: tuple[Literal["1v1000", "1v20"], ...] = ("1v1000", "1v20")
    names: Literal["wordnet", "openai"] = "wordnet"
    templates: Literal["paper", "openai80"] = "paper"


class SensitivityRules(_Frozen):
    """What else the splits are tried with, beside other thresholds and models; it decides nothing."""

    templates: tuple[Literal["openai80"], ...] = Field(
        default=(),
        description="prompt sets to try beside the one sentence; 80,000 prompts once for each image-text selector",
    )


class Recipe(_Frozen):
    """A whole benchmark in one frozen object; `base` is the folder that relative paths start from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    title: str = ""
    seed: str = "counteranimal"
    classes: Annotated[tuple[RecipeClass, ...], Field(min_length=1)]
    sources: Annotated[tuple[SourceSpec, ...], Field(min_length=1)]
    backgrounds: tuple[str, ...] = Field(default=(), description="the part of the vocabulary in use; empty: all of it")
    licences: Licences = Licences()
    dedupe: DedupeRules = DedupeRules()
    score: ScoreRules = ScoreRules()
    annotate: AnnotateRules = AnnotateRules()
    splits: tuple[SplitRule, ...] = (SplitRule(name="stand-in"),)
    sensitivity: SensitivityRules = SensitivityRules()
    evaluate: EvaluateRules = EvaluateRules()
    base: Path = Field(default=Path(), exclude=True)
    text: str = Field(default="", exclude=True, repr=False, description="the file as read, published with a release")

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        for what, names in (
            ("class", [item.id for item in self.classes]),
            ("source", [item.name for item in self.sources]),
            ("split", [item.name for item in self.splits]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is named twice")
        vocabulary = backgrounds()
        for name in self.backgrounds:
            if name not in vocabulary:
                raise ValueError(f"unknown background {name!r}; known are {', '.join(vocabulary)}")
        if len(self.vocabulary()) < 2:
            raise ValueError(
                f"backgrounds {', '.join(self.backgrounds)}: only {len(self.vocabulary())} of them can form a group, and a "
                "comparison needs two; name more, or none for the whole vocabulary"
            )
        claimed: dict[int, str] = {}
        for item in self.classes:
            for index in item.imagenet:
                if claimed.setdefault(index, item.id) != item.id:
                    raise ValueError(f"ImageNet index {index} belongs to two classes, {claimed[index]} and {item.id}")
        return self

    def vocabulary(self) -> tuple[str, ...]:
        """Backgrounds in use that can form a group, in vocabulary order."""
        chosen = self.backgrounds or tuple(backgrounds())
        return tuple(name for name, item in backgrounds().items() if item.decides and name in chosen)

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Taxa without an id, which sources ask for by name, so that homonyms may come along."""
        return tuple(taxon.name for item in self.classes for taxon in item.taxa if taxon.id is None)

    def class_by_id(self, class_id: str) -> RecipeClass:
        """Return a class of the recipe; raises RecipeError for an unknown id."""
        for item in self.classes:
            if item.id == class_id:
                return item
        raise RecipeError(f"unknown class {class_id!r}; the recipe has {', '.join(c.id for c in self.classes)}")


class Background(_Frozen):
    """One word of the vocabulary; `decides` is False for answers that never form a group (other, mixed, not_sure)."""

    hint: str
    key: str
    prompts: tuple[str, ...]
    decides: bool = True


@functools.cache
def _backgrounds_file() -> dict[str, Any]:
    return tomllib.loads(resource("data_manifest/backgrounds.toml").read_text(encoding="utf-8"))


@functools.cache
def backgrounds() -> Mapping[str, Background]:
    """Return the vocabulary of backgrounds in its published order."""
    return MappingProxyType({name: Background(**item) for name, item in _backgrounds_file()["backgrounds"].items()})


def background_mapping(name: str) -> dict[str, str]:
    """Return how another vocabulary (`paper`, `shared`) reads in ours; raises RecipeError for an unknown one."""
    mappings = _backgrounds_file()["mappings"]
    if name not in mappings:
        raise RecipeError(f"unknown background mapping {name!r}; known are {', '.join(mappings)}")
    return dict(mappings[name])


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str, str], ...]:
    """Return (wnid, WordNet name, OpenAI name) of the 1,000 ImageNet-1K classes, in index order."""
    path = resource("data_manifest/classes/imagenet1k.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple((row["wnid"], row["wordnet_name"], row["openai_name"]) for row in csv.DictReader(file))


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises
    ------
    RecipeError
        With every problem found, each with its place, in one message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read ({error.strerror}); give the path of a recipe file") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not UTF-8 text; save it as UTF-8") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}; mend that line") from error
    try:
        return Recipe(**content, base=path.resolve().parent, text=text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'recipe'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise RecipeError(f"recipe {path} has {error.error_count()} problem(s): {problems}") from error
    except TypeError as error:
        raise RecipeError(f"recipe {path} sets a reserved key ({error}); remove it") from error
