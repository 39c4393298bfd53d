"""The plan of the sample: every photo the upstream serves, with its truth, before anything is rendered.

Decides which cut-out stands on which scene, every id, time and licence, and what is planted: exact and near duplicates, dead
links, photos without a licence and photos with all rights reserved. Pure: the same packages give the same plan. Leaves pixels
to `sample` and the shape of answers to `observations`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from counteranimal.serving.animals import CUT_OUTS, SINGLES, CutOut, Single
from counteranimal.serving.origins import Origin
from counteranimal.serving.scenes import SCENES, Scene

__all__ = ["ALL_RIGHTS_RESERVED", "DEAD", "EXACT", "NEAR", "PLANTED", "UNLICENSED", "Photo", "plan_sample"]

DEAD, UNLICENSED, ALL_RIGHTS_RESERVED = "dead_link", "missing_licence", "all_rights_reserved"
EXACT, NEAR = "exact_duplicate", "near_duplicate"
PLANTED = {DEAD: 4, UNLICENSED: 4, ALL_RIGHTS_RESERVED: 4, EXACT: 8, NEAR: 8}
_PLANTED_QUICK = {DEAD: 1, UNLICENSED: 1, ALL_RIGHTS_RESERVED: 1, EXACT: 2, NEAR: 2}
_QUICK_CUT_OUTS, _QUICK_SCENES, _QUICK_SINGLES = 8, 8, 2
# Numbers far above any that iNaturalist had given out when this was written.
_FIRST_OBSERVATION, _FIRST_PHOTO, _FIRST_USER = 900_000_001, 950_000_001, 990_001
_FIRST_DAY = datetime(2026, 1, 1, 6, tzinfo=UTC)
# iNaturalist's own words; a licence its API has no word for keeps its SPDX identifier.
_CODES = {"CC0-1.0": "cc0"}
_FREE = frozenset({"CC0-1.0", "LicenseRef-Public-Domain"})


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of the sample, and the observation it belongs to.

    `kind` is composite or photo; `cut_out` and `scene` are empty for single photos; `planted` is a key of `PLANTED` or empty,
    and `copy_of` the photo id that a duplicate repeats. `class_id` is empty where no ImageNet class is clear.
    """

    name: str
    kind: str
    class_id: str
    background: str
    cut_out: str
    scene: str
    taxon: str
    common_name: str
    user_id: int
    login: str
    user_name: str | None
    licence_code: str | None
    attribution: str | None
    quality_grade: str = "research"
    photo_id: int = 0
    observation_id: int = 0
    observed_at: datetime = _FIRST_DAY
    planted: str = ""
    copy_of: int | None = None


def plan_sample(origin: Callable[[CutOut | Scene | Single], Origin], *, quick: bool) -> tuple[Photo, ...]:
    """Return the photos of the sample in order of their ids.

    Parameters
    ----------
    origin : callable
        Gives author and licence of a cut-out, a scene or a single photo as its package states them.
    quick : bool
        The small sample of tests: 8 cut-outs on 8 frames.
    """
    cut_outs = CUT_OUTS[:_QUICK_CUT_OUTS] if quick else CUT_OUTS
    scenes = SCENES[:_QUICK_SCENES] if quick else SCENES
    singles = SINGLES[:_QUICK_SINGLES] if quick else SINGLES
    scene_authors = _together(origin(scene).author for scene in scenes)
    photos = [
        replace(
            _composite(cut_out, scene, origin(cut_out), origin(scene)),
            user_id=_FIRST_USER + index,
            user_name=f"{origin(cut_out).author} (cut-out), {scene_authors} (scenes)",
        )
        for index, cut_out in enumerate(cut_outs)
        for scene in scenes
    ]
    photos += [_single(item, origin(item), user_id=_FIRST_USER + 1000 + i) for i, item in enumerate(singles)]
    photos.sort(key=lambda item: _draw("order", item.name))
    numbered = [_numbered(item, position) for position, item in enumerate(photos)]
    return tuple(sorted(_plant(numbered, _PLANTED_QUICK if quick else PLANTED), key=lambda item: item.photo_id))


def _together(authors: Iterable[str]) -> str:
    """Return every author once, in order of first mention: a user of the upstream has one name over all photos."""
    return ", ".join(dict.fromkeys(name for author in authors for name in author.split(", ")))


def _draw(purpose: str, name: str) -> str:
    return hashlib.sha256(f"{purpose}\n{name}".encode()).hexdigest()


def _numbered(photo: Photo, position: int) -> Photo:
    # Hours apart, so that no two photos of one observer look like a burst.
    return replace(
        photo,
        photo_id=_FIRST_PHOTO + 3 * position,
        observation_id=_FIRST_OBSERVATION + 7 * position,
        observed_at=_FIRST_DAY + timedelta(hours=5 * position, minutes=position % 60),
    )


def _composite(cut_out: CutOut, scene: Scene, animal: Origin, place: Origin) -> Photo:
    licence = _both(animal.licence, place.licence)
    author = f"{animal.author} (cut-out {cut_out.name}), {place.author} (scene {scene.photo})"
    return Photo(
        name=f"{cut_out.name}-on-{scene.name}",
        kind="composite",
        class_id=cut_out.class_id,
        background=scene.background,
        cut_out=cut_out.name,
        scene=scene.name,
        taxon=cut_out.taxon.name,
        common_name=cut_out.taxon.common,
        user_id=_FIRST_USER,
        login=f"cutout-{cut_out.name}",
        user_name=None,
        licence_code=_code(licence),
        attribution=_credit(author, licence),
    )


def _single(single: Single, origin: Origin, *, user_id: int) -> Photo:
    return Photo(
        name=f"gcompris-{single.name}",
        kind="photo",
        class_id=single.class_id,
        background=single.background,
        cut_out="",
        scene="",
        taxon=single.taxon.name,
        common_name=single.taxon.common,
        user_id=user_id,
        login=f"gcompris-{single.name}",
        user_name=origin.author or None,
        licence_code=_code(origin.licence),
        attribution=_credit(origin.author, origin.licence),
        quality_grade="research" if single.class_id else "casual",
    )


def _both(animal: str | None, place: str | None) -> str | None:
    """Return the licence of a work made of two; only equal ones are known to agree, anything else is not stated."""
    return animal if animal == place else None


def _code(licence: str | None) -> str | None:
    return None if licence is None else _CODES.get(licence, licence)


def _credit(author: str, licence: str | None) -> str | None:
    if licence is None:
        return None
    if licence in _FREE:
        return f"{author}, no known copyright restrictions ({licence})"
    return f"(c) {author}, some rights reserved ({licence})"


def _plant(photos: Sequence[Photo], counts: dict[str, int]) -> list[Photo]:
    """Plant defects on composites drawn by a hash of their names, and add the duplicates after all other ids."""
    drawn = iter(sorted((item for item in photos if item.cut_out), key=lambda item: _draw("planted", item.name)))
    chosen = {kind: [next(drawn) for _ in range(count)] for kind, count in counts.items()}
    changed: dict[int, Photo] = {}
    for item in chosen[DEAD]:
        changed[item.photo_id] = replace(item, planted=DEAD)
    for item in chosen[UNLICENSED]:
        changed[item.photo_id] = replace(item, planted=UNLICENSED, licence_code=None, attribution=None)
    taken = {item.photo_id for items in chosen.values() for item in items}
    for item in chosen[ALL_RIGHTS_RESERVED]:
        companion = next(other for other in photos if other.cut_out == item.cut_out and other.photo_id not in taken)
        taken.add(companion.photo_id)
        changed[item.photo_id] = replace(
            item,
            planted=ALL_RIGHTS_RESERVED,
            licence_code=None,
            attribution=f"(c) {item.user_name}, all rights reserved",
            # A second photo of another observation: a photo's own licence counts, not its neighbour's.
            observation_id=companion.observation_id,
            observed_at=companion.observed_at,
        )
    copies = [
        replace(_numbered(item, len(photos) + offset), name=f"{item.name}-{kind}", planted=kind, copy_of=item.photo_id)
        for offset, (kind, item) in enumerate((kind, item) for kind in (EXACT, NEAR) for item in chosen[kind])
    ]
    return [changed.get(item.photo_id, item) for item in photos] + copies
