"""Shapes the sample as iNaturalist's API v1 answers: observations, users, photos and taxa with all their fields.

Decides every field's value, null wherever real answers have null. Leaves filters and pages to `upstream`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from counteranimal.serving.plan import Photo
from counteranimal.serving.taxonomy import Taxon

__all__ = ["observation_record", "record_licence", "taxon_record"]

_SPACE = uuid.UUID("6f1d0c5e-2d58-4a7e-9d3c-5f6f4f0b7a11")
_EMPTY_LISTS = (
    "annotations", "comments", "faves", "flags", "ident_taxon_ids", "identifications", "non_owner_ids", "ofvs", "outlinks",
    "place_ids", "project_ids", "project_ids_with_curator_id", "project_ids_without_curator_id", "project_observations",
    "quality_metrics", "reviewed_by", "sounds", "votes",
)  # fmt: skip
_ZEROES = (
    "cached_votes_total", "comments_count", "faves_count", "identifications_count", "num_identification_agreements",
    "num_identification_disagreements",
)  # fmt: skip
# A composite was taken nowhere, and of the rest no place is known.
_NULLS = (
    "community_taxon_id", "description", "geojson", "geoprivacy", "location", "map_scale", "oauth_application_id",
    "place_guess", "positional_accuracy", "private_location", "public_positional_accuracy", "taxon_geoprivacy",
)  # fmt: skip
_FALSE = (
    "captive", "identifications_most_agree", "identifications_most_disagree", "identifications_some_agree", "mappable",
    "obscured", "owners_identification_from_vision", "spam",
)  # fmt: skip


def record_licence(photo: Photo) -> str | None:
    """Return the licence of an observation's record, which says nothing about its photos' and is missing for every third."""
    return "cc-by-nc" if photo.observation_id % 3 else None


def observation_record(
    photos: Sequence[Photo], *, base_url: str, taxon: Taxon, sizes: Mapping[int, tuple[int, int]]
) -> dict[str, Any]:
    """Return one observation with its photos, as an item of `results` of `GET /v1/observations`.

    Parameters
    ----------
    photos : sequence of Photo
        The photos of one observation, at least one; the first speaks for the observation.
    base_url : str
        The upstream's own address, which photo addresses start with.
    taxon : Taxon
        What the first photo shows.
    sizes : mapping
        Width and height by photo id; dead links have none.
    """
    first = photos[0]
    when = first.observed_at.isoformat()
    records = [_photo_record(photo, base_url=base_url, size=sizes.get(photo.photo_id)) for photo in photos]
    # As in real answers, now and then the time of day is unknown.
    time_known = first.observation_id % 5 != 0
    return {
        **{name: [] for name in _EMPTY_LISTS},
        **dict.fromkeys(_ZEROES, 0),
        **dict.fromkeys(_NULLS),
        **dict.fromkeys(_FALSE, False),
        "id": first.observation_id,
        "uuid": str(uuid.uuid5(_SPACE, f"observation {first.observation_id}")),
        "uri": f"{base_url}/observations/{first.observation_id}",
        "quality_grade": first.quality_grade,
        "license_code": record_licence(first),
        "created_at": when,
        "created_at_details": _details(first),
        "created_time_zone": "Etc/UTC",
        "updated_at": when,
        "observed_on": first.observed_at.date().isoformat(),
        "observed_on_details": _details(first),
        "observed_on_string": when,
        "observed_time_zone": "Etc/UTC",
        "time_observed_at": when if time_known else None,
        "time_zone_offset": "+00:00",
        "site_id": 1,
        "preferences": {"prefers_community_taxon": None},
        "species_guess": first.common_name if time_known else None,
        "tags": ["composite", first.cut_out, first.scene] if first.kind == "composite" else [],
        "taxon": taxon_record(taxon),
        "user": _user_record(first),
        "photos": records,
        "observation_photos": [
            {
                "id": record["id"] + 1,
                "position": position,
                "uuid": str(uuid.uuid5(_SPACE, f"photo {record['id']}")),
                "photo": record,
            }
            for position, record in enumerate(records)
        ],
    }


def _details(photo: Photo) -> dict[str, Any]:
    when = photo.observed_at
    return {
        "date": when.date().isoformat(),
        "week": when.isocalendar().week,
        "month": when.month,
        "hour": when.hour,
        "year": when.year,
        "day": when.day,
    }


def _photo_record(photo: Photo, *, base_url: str, size: tuple[int, int] | None) -> dict[str, Any]:
    return {
        "id": photo.photo_id,
        "license_code": photo.licence_code,
        "url": f"{base_url}/photos/{photo.photo_id}/square.jpg",
        "attribution": photo.attribution,
        "original_dimensions": {"width": size[0], "height": size[1]} if size else None,
        "flags": [],
    }


def _user_record(photo: Photo) -> dict[str, Any]:
    return {
        "site_id": 1,
        "created_at": "2026-01-01T00:00:00+00:00",
        "id": photo.user_id,
        "login": photo.login,
        "spam": False,
        "suspended": False,
        "preferences": {},
        "login_autocomplete": photo.login,
        "login_exact": photo.login,
        "name": photo.user_name,
        "name_autocomplete": photo.user_name,
        "orcid": None,
        "icon": None,
        "observations_count": 0,
        "identifications_count": 0,
        "journal_posts_count": 0,
        "activity_count": 0,
        "species_count": 0,
        "universal_search_rank": 0,
        "roles": [],
        "icon_url": None,
    }


def taxon_record(taxon: Taxon, *, matched_term: str | None = None) -> dict[str, Any]:
    """Return a taxon, as an item of `results` of `GET /v1/taxa`; `matched_term` is the name that a search matched."""
    record: dict[str, Any] = {
        "id": taxon.id,
        "name": taxon.name,
        "rank": taxon.rank,
        "rank_level": taxon.rank_level,
        "ancestor_ids": list(taxon.ancestors),
        "ancestry": "/".join(str(number) for number in taxon.ancestors[:-1]) or None,
        "min_species_taxon_id": taxon.id,
        "min_species_ancestry": ",".join(str(number) for number in taxon.ancestors),
        "parent_id": taxon.ancestors[-2] if len(taxon.ancestors) > 1 else None,
        "preferred_common_name": taxon.common_name,
        "iconic_taxon_id": taxon.ancestors[min(1, len(taxon.ancestors) - 1)],
        "iconic_taxon_name": "Animalia",
        "is_active": True,
        "extinct": False,
        "endemic": False,
        "introduced": False,
        "native": False,
        "threatened": False,
        "photos_locked": False,
        "observations_count": 0,
        "universal_search_rank": 0,
        "taxon_changes_count": 0,
        "taxon_schemes_count": 0,
        "flag_counts": {"unresolved": 0, "resolved": 0},
        "atlas_id": None,
        "complete_species_count": None,
        "conservation_status": None,
        "created_at": "2026-01-01T00:00:00+00:00",
        "current_synonymous_taxon_ids": None,
        "default_photo": None,
        "wikipedia_url": None,
    }
    return record if matched_term is None else {**record, "matched_term": matched_term}
