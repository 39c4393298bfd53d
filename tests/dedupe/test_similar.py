"""What hashes miss and features show is listed for people, and only that."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageOps

from counteranimal import tables
from counteranimal.dedupe.inside import best_fit, searchable
from counteranimal.dedupe.run import cluster, fingerprint
from counteranimal.dedupe.second_look import look_at
from counteranimal.dedupe.similar import close_pairs, list_similar
from counteranimal.images import decode
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, SplitRule
from counteranimal.settings import Settings

RECIPE = Recipe(
    name="made",
    classes=(RecipeClass(id="fox", name="fox", imagenet=(277,)),),
    sources=(SourceSpec(name="made", kind="folder"),),
    splits=(SplitRule(name="one", selector="efficientnet-lite0"),),
)
SETTINGS = Settings(workers=1)


def cropped(image, share):
    """Return the middle of a picture without a share of each side."""
    return ImageOps.crop(image, border=(round(image.width * share / 2), round(image.height * share / 2)) * 2)


COPIES = {
    "5 % cropped, mirrored": lambda image: ImageOps.mirror(cropped(image, 0.05)),
    "10 % cropped": lambda image: cropped(image, 0.1),
    "corner": lambda image: image.crop((0, 0, image.width * 7 // 10, image.height * 7 // 10)),
    "framed": lambda image: ImageOps.expand(image, border=30, fill="white"),
}


def test_close_pairs_are_those_of_a_full_comparison():
    """Across block borders, every pair above the cosine is found once, and no other."""
    rng = np.random.default_rng(1)
    features = rng.normal(0, 1, (2100, 8)).astype(np.float32) + 5
    centred = features - features.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    rows, columns = np.nonzero(np.triu(unit @ unit.T >= 0.93, 1))
    found = {(first, second) for first, second, _ in close_pairs(features, 0.93)}
    assert found == set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert found


@pytest.mark.parametrize("copy", COPIES)
def test_a_crop_fits_inside_its_original_and_another_photo_does_not(scene, with_animal, encode, copy):
    """Crops, corners, frames and their mirror images fit, whichever picture comes first; other scenes and animals do not."""
    for seed in range(3):
        picture = with_animal(scene(seed), seed)
        whole, part = (searchable(look_at(encode(image))) for image in (picture, COPIES[copy](picture)))
        other = searchable(look_at(encode(with_animal(scene(seed + 50), seed + 1))))
        assert min(best_fit(whole, part), best_fit(part, whole)) >= 0.92
        assert max(best_fit(whole, other), best_fit(other, part)) < 0.92


def test_only_close_photos_that_fit_are_listed(workspace, fill, scene, with_animal, encode):
    """Of four kept photos with stored features, the crop and its original are listed; without features nothing is."""
    picture = with_animal(scene(1), 1)
    files = [encode(picture), encode(COPIES["corner"](picture)), encode(with_animal(scene(2), 2)), encode(scene(3))]
    ids = fill(files)
    fingerprint(workspace, settings=SETTINGS)
    cluster(RECIPE, workspace)
    assert list_similar(RECIPE, workspace) == {"embedded": 0, "similar": 0}
    features = np.array([[1, 0, 0], [0.9, 0.1, 0], [0.95, 0, 0], [-3, 0, 1]], np.float32)
    rows = [
        {"photo_id": name, "model": "efficientnet-lite0", "view": "centre", "embedding": feature}
        for name, feature in zip(ids, features, strict=True)
    ]
    workspace.parts("embeddings", "some-key").write(tables.conform("embeddings", rows))
    assert list_similar(RECIPE, workspace) == {"embedded": 4, "similar": 1}
    [row] = workspace.table("similar_pairs").to_pylist()
    assert {row["photo_a"], row["photo_b"]} == {ids[0], ids[1]}


@pytest.mark.case("E06")
@pytest.mark.shared
@pytest.mark.model
def test_mirrored_and_cropped_copies_of_real_photos_are_merged_or_listed(workspace, fill, shared_data, encode):
    """Mirrored, 5 % and 10 % cropped copies, and mirrored crops: each is merged with its original or put before people."""
    from counteranimal.models import load_model
    from counteranimal.models.embeddings import embed

    paths = sorted((shared_data / "photos" / "wikimedia").iterdir())[5::30]
    files = []
    for path in paths:
        image = decode(path.read_bytes())
        copies = (
            ImageOps.mirror(image),
            cropped(image, 0.05),
            cropped(image, 0.1),
            ImageOps.mirror(cropped(image, 0.1)),
        )
        files += [path.read_bytes(), *(encode(copy) for copy in copies)]
    ids = fill(files)
    fingerprint(workspace, settings=SETTINGS)
    cluster(RECIPE, workspace)
    rows = {row["photo_id"]: row for row in workspace.table("clusters").to_pylist()}
    kept = [name for name in ids if rows[name]["kept"]]
    model = load_model("efficientnet-lite0", settings=SETTINGS)
    embed(model, kept, read=workspace.blobs.read, parts=workspace.parts("embeddings", "key"), settings=SETTINGS)
    list_similar(RECIPE, workspace)
    asked = [
        {rows[row["photo_a"]]["cluster"], rows[row["photo_b"]]["cluster"]}
        for name in ("unsure_pairs", "similar_pairs")
        for row in workspace.table(name).to_pylist()
    ]
    for start in range(0, len(ids), 5):
        original = rows[ids[start]]["cluster"]
        for name in ids[start + 1 : start + 5]:
            assert rows[name]["cluster"] == original or {rows[name]["cluster"], original} in asked
    of_photo = {rows[name]["cluster"]: index // 5 for index, name in enumerate(ids)}
    assert all(len({of_photo[name] for name in pair}) == 1 for pair in asked)
