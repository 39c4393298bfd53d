"""A folder with a table as a source: what becomes of rows, and which files are read."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.run import discover, fetch_pending
from counteranimal.crawl.snapshot import candidates_table, photos_table
from counteranimal.crawl.sources import LocalSource, Opening, open_source
from counteranimal.errors import Reason, RecipeError, Rejected
from counteranimal.ids import photo_id_of
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace
from tests.crawl.conftest import AGENT, NOW, recipe_of
from tests.fakes.crawled_site import jpeg

SHARED: dict[str, Any] = {
    "table": "photos.csv", "file": "{set}/{file}", "label": "breed_or_species", "imagenet_index": "imagenet_index",
    "licence": "licence", "author": "author", "page_url": "source_url", "note": "note", "sha256": "sha256",
}  # fmt: skip


def folder_spec(folder: Path | str, **options: Any) -> SourceSpec:
    return SourceSpec(name="photos", kind="folder", options={"folder": str(folder), **options})


def opened(spec: SourceSpec, recipe: Recipe | None = None) -> Any:
    clock = Clock(NOW)
    ledger = Ledger(Journal("sqlite://"), spec, clock)
    return open_source(Opening(spec, recipe or recipe_of(spec), ledger, clock, AGENT))


def offers(spec: SourceSpec) -> list[Offer]:
    return [offer for page in opened(spec).pages("") for offer in page.offers]


def table(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_rows_become_offers_by_index_then_label(tmp_path: Path):
    """A row's class is that of its ImageNet index, else of its label in any case, else none."""
    table(
        tmp_path,
        [
            {"f": "a b.jpg", "i": "207", "l": "cat", "by": "Ada", "c": "CC-BY-4.0"},
            {"f": "b.jpg", "i": "", "l": "DOG", "by": "", "c": ""},
            {"f": "c.jpg", "i": "x", "l": "cat", "by": "", "c": ""},
        ],
    )
    found = offers(
        folder_spec(tmp_path, table="table.csv", file="f", imagenet_index="i", label="l", author="by", licence="c")
    )
    assert [(o.native_id, o.class_id, o.author, o.licence_raw) for o in found] == [
        ("a b.jpg", "dog", "Ada", "CC-BY-4.0"), ("b.jpg", "dog", None, None), ("c.jpg", None, None, None),
    ]  # fmt: skip
    assert found[0].url == "file:a%20b.jpg"
    assert found[0].observer_id is None


def test_folder_without_a_table_takes_labels_from_its_folders(tmp_path: Path):
    """Without a table the folder a file lies in is its label, and what holds for all photos is stated once."""
    (tmp_path / "dog").mkdir()
    for name in ("dog/b.jpg", "dog/a.PNG", "top.webp", "notes.txt", "dog/.hidden.jpg"):
        (tmp_path / name).write_bytes(b"x")
    found = offers(folder_spec(tmp_path, fixed={"licence": "CC0-1.0", "kind": "composite"}))
    assert [(o.native_id, o.class_id, o.licence_raw, o.kind) for o in found] == [
        ("dog/a.PNG", "dog", "CC0-1.0", "composite"), ("dog/b.jpg", "dog", "CC0-1.0", "composite"),
        ("top.webp", None, "CC0-1.0", "composite"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "absent.csv"}, "cannot be read"),
        ({"table": "table.csv", "file": "nowhere"}, "no column 'nowhere'"),
        ({"table": "table.csv", "file": "{f.__class__}"}, "no column"),
        ({"table": "table.csv", "file": "f", "where": {"set": "x"}}, "no column 'set'"),
        ({"table": "twice.csv", "file": "f"}, "twice"),
        ({"table": "bytes.csv", "file": "f"}, "cannot be read"),
        ({"fixed": {"colour": "red"}}, "colour"),
        ({"colour": "red"}, "colour"),
        ({"folder": "/nowhere"}, "does not exist"),
    ],
)
def test_wrong_options_and_tables_are_recipe_errors(tmp_path: Path, options: dict[str, Any], words: str):
    """What a recipe says wrong about its folder is said in one sentence."""
    (tmp_path / "table.csv").write_text("f\na.jpg\n")
    (tmp_path / "twice.csv").write_text("f\na.jpg\na.jpg\n")
    (tmp_path / "bytes.csv").write_bytes(b"f\n\xff\xfe.jpg\n")
    with pytest.raises(RecipeError, match=words):
        offers(folder_spec(options.pop("folder", tmp_path), **options))


def test_unknown_kind_names_the_known_ones():
    """A kind without a plug-in is a mistake in the recipe."""
    with pytest.raises(RecipeError, match="unknown kind 'flickr'; known are folder, inaturalist"):
        opened(SourceSpec(name="s", kind="flickr"))


@pytest.mark.case("B10")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.jpg", Reason.SSRF), ("link.jpg", Reason.SSRF), ("linked/secret.jpg", Reason.SSRF), ("sub", Reason.SSRF),
        ("absent.jpg", Reason.GONE), ("a\x00b.jpg", Reason.GONE), ("x" * 300 + ".jpg", Reason.GONE), ("big.jpg", Reason.TOO_LARGE),
    ],
)  # fmt: skip
def test_only_ordinary_files_inside_the_folder_are_read(tmp_path: Path, path: str, reason: Reason):
    """A path that leaves the folder, by dots or links, is refused; one that is not there is gone."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "big.jpg").write_bytes(b"x" * 1001)
    (folder / "fine.jpg").write_bytes(b"x" * 1000)
    source: LocalSource = opened(folder_spec(folder))
    assert len(source.read("fine.jpg", most=1000)) == 1000
    with pytest.raises(Rejected) as caught:
        source.read(path, most=1000)
    assert caught.value.reason is reason


def test_file_that_is_not_the_one_of_the_table_is_a_mismatch(
    tmp_path: Path, workspace: Workspace, settings: Settings, now: datetime
):
    """Where the table gives a digest, other bytes are turned away."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(jpeg(1))
    table(tmp_path, [{"f": "a.jpg", "h": "0" * 64, "l": "dog"}, {"f": "b.jpg", "h": photo_id_of(jpeg(1)), "l": "dog"}])
    options = {"table": "table.csv", "file": "f", "sha256": "h", "label": "l", "fixed": {"licence": "CC0-1.0"}}
    recipe = recipe_of(folder_spec(tmp_path, **options))
    discover(recipe, workspace, settings=settings, now=now)
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 1
    reasons = [row["reason"] for row in workspace.journal.rows("fetches")]
    assert sorted(reasons, key=str) == ["E_MISMATCH", None]


def test_folder_is_relative_to_the_recipe(tmp_path: Path, workspace: Workspace, settings: Settings, now: datetime):
    """A recipe's folder is found from where the recipe lies, and its photos are stored without any network."""
    (tmp_path / "photos" / "dog").mkdir(parents=True)
    (tmp_path / "photos" / "dog" / "a.jpg").write_bytes(jpeg(1))
    recipe = recipe_of(folder_spec("photos", fixed={"licence": "CC0-1.0"}), base=tmp_path)
    assert discover(recipe, workspace, settings=settings, now=now)["new"] == 1
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 1
    assert workspace.journal.rows("requests") == []


@pytest.mark.shared
def test_shared_photos_are_stored_with_one_duplicate(
    shared_data: Path, workspace: Workspace, settings: Settings, now: datetime
):
    """All 286 rows are accounted for: dogs and cats by index and label, the rest by reason; no pet has an observer."""
    classes = (
        RecipeClass(id="dog", name="dog", imagenet=tuple(range(151, 269))),
        RecipeClass(id="cat", name="cat", imagenet=tuple(range(281, 286))),
        RecipeClass(id="shrimp", name="shrimp", imagenet=(0,), labels=("heterocarpus ensifer", "Shrimp")),
    )
    recipe = recipe_of(folder_spec(shared_data / "photos", **SHARED), classes=classes)
    counts = discover(recipe, workspace, settings=settings, now=now)
    assert (counts["offered"], counts["new"]) == (286, 286)
    candidates = candidates_table(workspace.journal).to_pylist()
    reasons = Counter(row["reason"] for row in candidates)
    fetched = fetch_pending(recipe, workspace, settings=settings, now=now)
    assert fetched == {"stored": reasons[None], "rejected": 0, "failed": 0, "deferred": 0, "pending": 0}
    photos = photos_table(recipe, workspace.journal).to_pylist()
    assert len(photos) == reasons[None] - 1
    twice = [row for row in photos if len(row["candidate_ids"]) > 1]
    assert [row["candidate_ids"] for row in twice] == [
        ["photos:wikimedia/Heterocarpus_ensifer.webp", "photos:wikimedia/shrimp.webp"]
    ]
    assert all(row["fold_unit"] == row["photo_id"] for row in photos)
    assert all(row["observer_id"] is None for row in candidates)
    assert not {"E_ATTRIBUTION"} & {reason for reason, n in reasons.items() if n > 3}
