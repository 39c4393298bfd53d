"""The two steps of deduplication over a workspace: fingerprint every photo once, then cluster all of them.

Decides what is read and written. The first step runs in processes, a shard of photos each; the second searches and looks at pairs
of photos that are new, and makes the clusters of all of them anew. Leaves every judgement to the modules beside it.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counteranimal import tables
from counteranimal.dedupe.answers import answered
from counteranimal.dedupe.confirm import Link, closer, exact_links, links_of, looked_at
from counteranimal.dedupe.exact import digests, may_be_equal
from counteranimal.dedupe.fingerprint import DEFAULT_RECIPE, recipe_name, stored_hashes
from counteranimal.dedupe.keep import Member, cluster_rows, unsettled
from counteranimal.dedupe.proposals import Fingerprints, Proposal, proposed
from counteranimal.dedupe.reference import checks, overlaps, stored
from counteranimal.dedupe.second_look import RULE, Look, look_at
from counteranimal.errors import IntegrityError
from counteranimal.ids import digest_of
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.progress import track
from counteranimal.recipe import DedupeRules, Recipe
from counteranimal.settings import Settings
from counteranimal.workspace import Blobs, Parts, Workspace

__all__ = ["cluster", "fingerprint", "looks_key"]

# Small enough that two workers share the few hundred photos of a first run, large enough that parts stay few.
_SHARD = 128
# Looks of 4 KiB; a photo's pairs follow one another, so that more would seldom be asked for again.
_LOOKS = 1 << 16
# What a photo's place in bursts and clusters follows from, of its candidates and of itself.
_TOLD = ["candidate_id", "source", "observation_id", "observer_id", "observed_at", "kind"]
_SEEN = ["photo_id", "candidate_ids", "class_id", "width", "height", "bytes"]
REASONS = ("exact", "judged", "near", "mirror", "burst", "class_conflict", "reference_overlap")
"""Why a photo can be dropped."""


def fingerprint(workspace: Workspace, *, settings: Settings) -> dict[str, int]:
    """Fingerprint the accepted photos that have none yet, and write table `fingerprints`.

    Returns
    -------
    dict
        `photos` (all accepted ones) and `new` (fingerprinted now).

    Raises
    ------
    IntegrityError
        If a stored photo is missing, changed or does not decode; the sentence names it.
    """
    wanted = [row["photo_id"] for row in _accepted(workspace).select(["photo_id"]).to_pylist()]
    parts = workspace.parts("fingerprints", recipe_name(DEFAULT_RECIPE))
    missing = parts.missing(wanted)
    shards = [(workspace.blobs.root, ids) for ids in shards_of(missing, _SHARD)]
    pool, store = Pool.of(settings), workspace.blobs.root
    for rows in map_shards(_fingerprint_shard, shards, pool=pool, title="fingerprint", store=store):
        parts.write(rows)
    workspace.write_table("fingerprints", parts.view(wanted))
    return {"photos": len(wanted), "new": len(missing)}


def cluster(recipe: Recipe, workspace: Workspace) -> dict[str, int]:
    """Cluster the accepted photos by the rule and by people's answers, and write tables `clusters` and `unsure_pairs`.

    Returns
    -------
    dict
        `photos`, `kept`, the dropped by reason (`exact`, `judged`, `near`, `mirror`, `burst`, `class_conflict`,
        `reference_overlap`), `answers` (settled pairs that were followed), `unsure` pairs, which wait for people, and
        `unsure_overlaps` with reference sets, which are only told.

    Raises
    ------
    IntegrityError
        If a photo has no fingerprint, or is missing from the store.
    """
    photos = _accepted(workspace)
    members = _members(photos, workspace)
    prints = _prints(workspace, sorted(members))
    look = _looks(workspace.blobs)
    answers = [
        row
        for row in workspace.table_or_empty("settled_pairs").to_pylist()
        if row["photo_a"] in members and row["photo_b"] in members
    ]
    prints, found = _found(prints, photos, workspace, look, recipe)
    links, unsure = answered(found, answers, prints, look, recipe.dedupe)
    pixels = zip(prints.photo_ids, prints.pixel_digests, strict=True)
    known = [replace(members[name], pixel_digest=digest) for name, digest in pixels]
    lists = stored(workspace)
    overlapping = overlaps(prints, lists, recipe.dedupe)
    struck = {overlap.photo_id: overlap for overlap in reversed(overlapping) if overlap.sure}
    rows = cluster_rows(
        known,
        links,
        burst_seconds=recipe.dedupe.burst_seconds,
        apart=lambda a, b: closer(prints, a, b)[0],
        overlaps=struck,
    )
    workspace.write_table("clusters", tables.conform("clusters", rows))
    told = tables.conform("reference_overlaps", [overlap.row() for overlap in overlapping])
    workspace.write_table("reference_overlaps", told)
    dropped = {row["photo_id"]: row["partner"] for row in rows if row["reason"] == "reference_overlap"}
    compared = checks(lists, overlapping, dropped)
    workspace.write_table("references", tables.conform("references", compared))
    questions = unsettled(rows, unsure, links)
    workspace.write_table("unsure_pairs", tables.conform("unsure_pairs", questions))
    reasons = Counter(row["reason"] for row in rows if not row["kept"])
    return {
        "photos": len(rows),
        "kept": sum(row["kept"] for row in rows),
        **{reason: reasons[reason] for reason in REASONS},
        "answers": len(answers),
        "unsure": len(questions),
        "unsure_overlaps": sum(row["unsure"] for row in compared),
    }


def looks_key(rules: DedupeRules) -> str:
    """Return the key of the parts that hold what pairs were found to be under some rules."""
    settings = rules.model_dump(include={"phash_radius", "dhash_radius", "pixel_difference", "part_difference"})
    return digest_of(recipe_name(DEFAULT_RECIPE), RULE, json.dumps(settings))[:16]


def _found(
    prints: Fingerprints, photos: pa.Table, workspace: Workspace, look: Callable[[str], Look], recipe: Recipe
) -> tuple[Fingerprints, tuple[list[Link], list[Link]]]:
    """Return the fingerprints with their pixel digests, then the confirmed and the unsure links.

    Only photos that were never searched are searched, and no pair is looked at twice.
    """
    rules = recipe.dedupe
    parts = workspace.parts("looked_pairs", looks_key(rules))
    # A photo that comes back is searched anew: it was not compared with what came while it was away.
    parts.forget(parts.ids() - set(prints.photo_ids), ("photo_id", "photo_a", "photo_b"))
    missing = set(parts.missing(prints.photo_ids))
    new = np.array([name in missing for name in prints.photo_ids], dtype=bool)
    pairs = proposed(prints, new, rules, parts.folder / "index")
    prints = _digested(prints, pairs, photos, workspace, parts.folder / "digests")
    by_finder: dict[str, list[Proposal]] = {name: [] for name in sorted(missing)}
    for pair in pairs:
        by_finder[prints.photo_ids[pair.first if new[pair.first] else pair.second]].append(pair)
    for names in track(shards_of(list(by_finder), _SHARD), "Looking at pairs"):
        made: list[dict[str, Any]] = []
        for name in names:
            made += [{"photo_id": name, "photo_a": "", "photo_b": "", "kind": ""}]
            made += [{"photo_id": name, **row} for row in looked_at(prints, by_finder[name], look, rules)]
        parts.write(made)
    looked = parts.view()
    found = looked.filter(pc.not_equal(looked.column("photo_a"), "")).to_pylist()
    return prints, (sorted([*exact_links(prints), *links_of(found, "same")]), links_of(found, "unsure"))


def _digested(
    prints: Fingerprints, pairs: Sequence[Proposal], photos: pa.Table, workspace: Workspace, folder: Path
) -> Fingerprints:
    """Return the fingerprints with the digests of the photos that may be equal to another; the digests lie beside the looks."""
    named = photos.select(["photo_id", "width", "height"]).to_pydict()
    size = dict(zip(named["photo_id"], zip(named["width"], named["height"], strict=True), strict=True))
    places = may_be_equal(
        ((pair.first, pair.second) for pair in pairs if pair.kind == "near"),
        [size[name] for name in prints.photo_ids],
        prints.entropy,
    )
    parts = Parts(folder, "pixel_digests")
    parts.forget(parts.ids() - set(prints.photo_ids))
    known = digests([prints.photo_ids[place] for place in places.tolist()], workspace.blobs, parts)
    return prints._replace(pixel_digests=[known.get(name, name) for name in prints.photo_ids])


def _accepted(workspace: Workspace) -> pa.Table:
    photos = workspace.table("photos")
    return photos.filter(pc.equal(photos.column("status"), "ok"))


def _fingerprint_shard(shard: tuple[Path, Sequence[str]]) -> list[dict[str, Any]]:
    root, photo_ids = shard
    blobs = Blobs(root)
    recipe = recipe_name(DEFAULT_RECIPE)
    hashed = zip(photo_ids, stored_hashes(blobs, photo_ids), strict=True)
    return [{"photo_id": photo_id, **asdict(hashes), "recipe": recipe} for photo_id, hashes in hashed]


def _looks(blobs: Blobs) -> Any:
    @functools.lru_cache(_LOOKS)
    def look(photo_id: str) -> Look:
        return look_at(blobs.read(photo_id))

    return look


def _prints(workspace: Workspace, photo_ids: Sequence[str]) -> Fingerprints:
    table = workspace.table("fingerprints")
    table = table.filter(pc.is_in(table.column("photo_id"), value_set=pa.array(photo_ids, pa.string())))
    lost = sorted(set(photo_ids) - set(table.column("photo_id").to_pylist()))
    if lost:
        raise IntegrityError(f"photo {lost[0]} has no fingerprint; run the fingerprint step again")
    return Fingerprints.of(table)


def _members(photos: pa.Table, workspace: Workspace) -> dict[str, Member]:
    told = workspace.table_or_empty("candidates", _TOLD).to_pylist()
    candidates = {row["candidate_id"]: row for row in told}
    return {
        row["photo_id"]: _member(row, [candidates[name] for name in row["candidate_ids"] if name in candidates])
        for row in photos.select(_SEEN).to_pylist()
    }


def _member(photo: dict[str, Any], candidates: Sequence[dict[str, Any]]) -> Member:
    single = [row for row in candidates if row["kind"] != "composite"]
    return Member(
        photo_id=photo["photo_id"],
        class_id=photo["class_id"] or "",
        area=int(photo["width"]) * int(photo["height"]),
        size=int(photo["bytes"]),
        observations=frozenset(f"{row['source']}:{row['observation_id']}" for row in single if row["observation_id"]),
        observers=frozenset(f"{row['source']}:{row['observer_id']}" for row in single if row["observer_id"]),
        moments=tuple(sorted(moment for row in single if (moment := _moment(row["observed_at"])) is not None)),
    )


def _moment(text: str | None) -> datetime | None:
    """Return a moment that is known to the second; a bare date puts a whole day into one burst and counts as unknown."""
    if not text or len(text) <= len("2026-01-01"):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
