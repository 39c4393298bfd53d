"""The sample that the demo crawls: what is planted in it is found, and nothing else is merged."""

from __future__ import annotations

import pytest

from counteranimal.dedupe.run import cluster, fingerprint
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec
from counteranimal.serving.plan import DEAD, EXACT, NEAR
from counteranimal.serving.sample import SampleIndex
from counteranimal.settings import Settings

RECIPE = Recipe(
    name="made",
    classes=(RecipeClass(id="fox", name="fox", imagenet=(277,)),),
    sources=(SourceSpec(name="made", kind="folder"),),
)


@pytest.mark.material
def test_planted_duplicates_are_found_and_no_other_photo_is_merged(quick_sample: SampleIndex, workspace, fill) -> None:
    """Exact copies are one photo by their bytes, near ones join what they repeat, and every other composite and photo stays."""
    there = [photo for photo in quick_sample.photos if photo.planted != DEAD]
    files = [quick_sample.file(photo.photo_id).read_bytes() for photo in there]
    ids = dict(zip((photo.photo_id for photo in there), fill(files), strict=True))
    fingerprint(workspace, settings=Settings(workers=1))
    counts = cluster(RECIPE, workspace)
    rows = {row["photo_id"]: row for row in workspace.table("clusters").to_pylist()}
    near = [photo for photo in there if photo.planted == NEAR]
    exact = [photo for photo in there if photo.planted == EXACT]
    assert near
    assert exact
    assert all(ids[photo.photo_id] == ids[photo.copy_of] for photo in exact)
    assert all(rows[ids[photo.photo_id]]["cluster"] == rows[ids[photo.copy_of]]["cluster"] for photo in near)
    assert (counts["photos"], counts["kept"]) == (len(there) - len(exact), len(there) - len(exact) - len(near))
    assert counts["unsure"] == 0
