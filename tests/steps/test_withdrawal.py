"""A takedown: everything of a photo goes, nothing of it returns, and older releases still verify and say so."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from counteranimal import tables
from counteranimal.cli import app
from counteranimal.errors import PolicyError
from counteranimal.evaluate.run import Evaluator
from counteranimal.freeze.draft import draft
from counteranimal.freeze.gates import FreezeRefused
from counteranimal.freeze.photos import export_photos
from counteranimal.freeze.sign import keygen
from counteranimal.freeze.succeed import succeed
from counteranimal.freeze.write import write_release
from counteranimal.ids import photo_id_of
from counteranimal.recipe import load_recipe
from counteranimal.release.read import open_release
from counteranimal.release.verify import verify
from counteranimal.settings import Settings
from counteranimal.steps.curation import crawl, dedupe, snapshot
from counteranimal.steps.inspect import why
from counteranimal.steps.publishing import evaluate_release, keys, list_withdrawn
from counteranimal.steps.run import Run
from counteranimal.steps.takedown import Request
from counteranimal.steps.withdrawal import withdraw
from counteranimal.workspace import Blob, Workspace
from counteranimal.workspace.forgetting import crops_of
from tests.fakes.small_workspace import Small, build, terms
from tests.fakes.tiny_model import TinyModel

NOW = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)


def picture(seed: int) -> Image.Image:
    """Draw soft shapes with some grain, another picture for every seed."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
        (160, 120), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 6, (120, 160, 3))
    return Image.fromarray(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def run_of(small: Small, now: datetime = NOW) -> Run:
    settings = Settings(home=small.workspace.home, workers=1, free_space_floor_mb=0)
    return Run(recipe=small.recipe, workspace=small.workspace, settings=settings, now=now)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return build(tmp_path / "small")


def store(small: Small, name: str, data: bytes, **stated: Any) -> str:
    """Store a photo as a crawl does, and return its id."""
    workspace, source = small.workspace, name.partition(":")[0]
    candidate = {
        "candidate_id": name, "source": source, "native_id": name.partition(":")[2], "class_id": "lion", "licence": "CC0-1.0",
        "url": f"https://{source}.example.org/{name}.jpg", "kind": "photo", "seen_at": NOW, "status": "ok",
    }  # fmt: skip
    [photo_id] = workspace.blobs.put_many([Blob(data, {"candidate_id": name})])
    fetched = {"candidate_id": name, "attempt": 1, "at": NOW, "status": "stored", "photo_id": photo_id}
    stored = {
        "photo_id": photo_id, "candidate_id": name, "mime": "image/jpeg", "bytes": len(data), "width": 160, "height": 120,
        "fold_unit": photo_id, "stored_at": NOW, "store": workspace.blobs.identity(),
    }  # fmt: skip
    workspace.journal.append_all({"candidates": [candidate | stated], "fetches": [fetched], "stored": [stored]})
    return photo_id


def released(small: Small, version: str = "1.0.0", **changed: Any) -> Path:
    """Freeze what the workspace's tables say, as the step does after its models."""
    run, older = run_of(small), small.workspace.folder("releases")
    made = draft(small.recipe, small.workspace, terms(version=version, **changed))
    if previous := changed.get("predecessor"):
        made = succeed(made, open_release(older / previous), withdrawn=small.workspace.journal.withdrawn())
    path = write_release(made, older, private_key=keys(run)[0])
    list_withdrawn(run, private_key=keys(run)[0])
    export_photos(open_release(path).entries, small.workspace, small.workspace.folder("photos"))
    return path


def names_below(folder: Path) -> Iterable[str]:
    return (path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.case("D06")
def test_an_author_goes_with_every_mirrored_copy(small: Small) -> None:
    """37 photos of one author, 9 of them mirrored by another source (equal, re-encoded, flipped): 37 + 9 are gone, nothing else."""
    before = set(small.workspace.blobs.ids())
    pictures = [picture(seed) for seed in range(37)]
    for number, image in enumerate(pictures):
        store(small, f"sample:jo-{number}", jpeg(image), author="Jo  Doe" if number else "jo doe")
    mirrored = [jpeg(image, 60) for image in pictures[:5]] + [
        jpeg(ImageOps.mirror(image), 80) for image in pictures[5:9]
    ]
    copies = [store(small, f"mirror:{number}", data, author="A Mirror") for number, data in enumerate(mirrored)]
    other = store(small, "mirror:other", jpeg(picture(99)), author="A Mirror")
    outcome = withdraw(run_of(small), Request(authors=("Jo Doe",), why="asked"))
    assert (outcome.counts["photos"], outcome.counts["copies"]) == (37, len(copies)) == (37, 9)
    assert set(small.workspace.blobs.ids()) == before | {other}
    assert snapshot(run_of(small)).states["withdrawn"] == 46


@pytest.mark.case("D05")
def test_nothing_of_a_photo_stays(small: Small, tmp_path: Path) -> None:
    """One photo, by each way of naming it: no file is named by it, no table names it, and its neighbours stay."""
    run, workspace = run_of(small), small.workspace
    release = open_release(released(small))
    entry = release.entries.to_pylist()[3]
    gone, copy = entry["photo_id"], entry["published_sha256"]
    kept = set(workspace.blobs.ids()) - {gone}
    embedded = [
        {"photo_id": name, "model": "stand-in", "view": "centre", "embedding": [0.5, 0.25]} for name in (*kept, gone)
    ]
    workspace.parts("embeddings", "trunk").write(tables.conform("embeddings", embedded))
    alone = workspace.parts("scores", "q").write(tables.conform("scores", [{"photo_id": gone, "model": "m", "view": "v", "vocabulary": "w"}]))  # fmt: skip
    dedupe(run)
    outside = tmp_path / "exported"
    for place in (workspace.home / "report" / "photos" / f"{gone[:24]}-320.jpg", outside / "lion" / f"{copy}.jpg"):
        place.parent.mkdir(parents=True)
        place.write_bytes(b"a small copy")
    (workspace.blobs.path(gone).parent / f".{gone}.run.tmp").write_bytes(b"half")
    evaluator = Evaluator(run.settings, store=tmp_path / "features", crops=crops_of(workspace))
    evaluator.evaluate(release, [TinyModel()], photos=workspace.home / "blobs", out=tmp_path / "out")
    assert list(crops_of(workspace).iterdir())
    outcome = withdraw(run, Request(digests=(copy.upper(),)), beside=[outside])
    assert outcome.counts["photos"] == 1
    for folder in (workspace.home, outside):
        assert not [name for name in names_below(folder) if gone[:24] in name or copy[:24] in name]
    assert not alone.exists()
    assert not crops_of(workspace).exists()  # its file shows the photo among all others
    for path in (workspace.home / "tables").rglob("*.parquet"):
        if path.name != "fetches.parquet":
            assert gone not in str(tables.pq.read_table(path).to_pydict()), path
    assert workspace.parts("embeddings", "trunk").ids() == kept
    assert set(workspace.blobs.ids()) == kept
    assert why(workspace, entry_candidate(workspace, gone))["withdrawals"][0]["asked"].startswith("digest:")


def entry_candidate(workspace: Workspace, photo_id: str) -> str:
    return str(workspace.journal.rows("stored", photo_id=photo_id)[0]["candidate_id"])


@pytest.mark.case("D05")
@pytest.mark.case("H13")
@pytest.mark.case("H16")
def test_five_releases_and_three_takedowns_later_all_verify(small: Small) -> None:
    """Every older manifest still verifies and says what was withdrawn; the next release is MAJOR, lacks it and lists it as withdrawn."""
    workspace, run = small.workspace, run_of(small)
    paths = [released(small), released(small, "1.0.1", predecessor="1.0.0")]
    order = [row["photo_id"] for row in workspace.table("pool").to_pylist()]
    for number, version in enumerate(("2.0.0", "3.0.0", "4.0.0")):
        withdraw(run, Request(photos=(order[number],)))
        recounted(small)
        previous = paths[-1].name
        with pytest.raises(FreezeRefused, match=f"MAJOR change since {previous}"):
            released(small, f"{previous[0]}.9.0", predecessor=previous)
        paths.append(released(small, version, predecessor=previous))
        assert "Photos removed: 1, withdrawn among them: 1." in (paths[-1] / "CHANGES.md").read_text()
    for path, number in zip(paths, (3, 3, 2, 1, 0), strict=True):
        report = verify(path, public_key=keys(run)[1], photos=workspace.home / "photos")
        assert (report.ok, len(report.withdrawn)) == (True, number), report.problems
        assert report.counts["photos"] == report.counts["entries"] - number
        assert report.successor == ("4.0.0" if path != paths[-1] else "")
        assert any(f"{number} of its photos withdrawn" in note for note in report.notes) == bool(number)


def recounted(small: Small) -> None:
    """Make the tables after the pool again, as `rebuild` does: groups of the photos that are left, and pairs as they were."""
    workspace = small.workspace
    right = {row["photo_id"] for row in workspace.table("predictions").to_pylist() if row["correct"]}
    cells: dict[tuple[str, ...], list[bool]] = {}
    for row in workspace.table("splits").to_pylist():
        cell = tuple(row[name] for name in ("split", "class_id", "background", "group", "fold"))
        cells.setdefault(cell, []).append(row["photo_id"] in right)
    groups = [
        {
            **dict(zip(("split", "class_id", "background", "group", "fold"), cell, strict=True)), "model": "stand-in", "n": len(found),
            "n_effective": float(len(found)), "correct": sum(found), "accuracy": sum(found) / len(found), "low": 0.0, "high": 1.0,
        }
        for cell, found in cells.items()
    ]  # fmt: skip
    workspace.write_table("groups", tables.conform("groups", groups))


@pytest.mark.case("D07")
def test_none_of_a_hundred_suppressed_offers_returns(tmp_path: Path) -> None:
    """Offered again under its id, as equal bytes, re-encoded or flipped under new ids, or by the author: 0 of 100 are stored."""
    folder, recipe = tmp_path / "photos", tmp_path / "recipe.toml"
    folder.mkdir()
    recipe.write_text(
        'name = "again"\n[licences]\nallow = ["CC0-1.0"]\n[[classes]]\nid = "cat"\nname = "cat"\nimagenet = [281]\nlabels = ["cat"]\n'
        '[[sources]]\nname = "photos"\nkind = "folder"\n[sources.options]\nfolder = "photos"\ntable = "photos.csv"\n'
        'file = "file"\nauthor = "author"\n[sources.options.fixed]\nlabel = "cat"\nlicence = "CC0-1.0"\n'
    )
    pictures = [picture(seed) for seed in range(25)]
    offer(folder, {f"first-{number}.jpg": jpeg(image) for number, image in enumerate(pictures)}, "Jo Doe")
    settings = Settings(home=tmp_path / "home", workers=1, free_space_floor_mb=0)
    run = Run(load_recipe(recipe), Workspace(settings.home), settings, NOW)
    assert crawl(run).counts["stored"] == 25
    withdraw(run, Request(photos=tuple(run.workspace.blobs.ids()), authors=("Jo Doe",)))
    again = {f"equal-{number}.jpg": jpeg(image) for number, image in enumerate(pictures)}
    again |= {f"smaller-{number}.jpg": jpeg(image, 70) for number, image in enumerate(pictures[:13])}
    again |= {f"flipped-{number}.jpg": jpeg(ImageOps.mirror(image), 85) for number, image in enumerate(pictures[13:])}
    offer(folder, again, "Somebody Else")
    offer(folder, {f"by-jo-{number}.jpg": jpeg(picture(200 + number)) for number in range(25)}, "JO DOE")
    fresh = jpeg(picture(500))
    offer(folder, {"fresh.jpg": fresh}, "Somebody Else")
    outcome = crawl(dataclasses.replace(run, now=NOW + timedelta(days=1)))
    assert list(run.workspace.blobs.ids()) == [photo_id_of(fresh)]
    assert (outcome.counts["stored"], outcome.counts["withdrawn"]) == (1, 100)


def offer(folder: Path, files: dict[str, bytes], author: str) -> None:
    table = folder / "photos.csv"
    lines = table.read_text().splitlines() if table.exists() else ["file,author"]
    for name, data in files.items():
        (folder / name).write_bytes(data)
        lines.append(f"{name},{author}")
    table.write_text("\n".join(lines) + "\n")


@pytest.mark.case("D08")
def test_a_second_takedown_changes_nothing(small: Small) -> None:
    """Asked twice, the journal has one record and the outcome says what is withdrawn; a candidate without bytes counts, too."""
    run = run_of(small)
    never = {
        "candidate_id": "sample:never",
        "source": "sample",
        "native_id": "never",
        "class_id": "lion",
        "status": "ok",
    }
    small.workspace.journal.append(
        "candidates", [never | {"url": "https://photos.example.org/never.jpg", "seen_at": NOW}]
    )
    photo_id = next(iter(small.workspace.blobs.ids()))
    request = Request(photos=(photo_id,), urls=("https://photos.example.org/never.jpg",))
    withdraw(run, Request(urls=("https://photos.example.org/007.jpg",)))
    first = withdraw(run, request)
    recorded = small.workspace.journal.rows("withdrawals")
    second = withdraw(run, request)
    assert small.workspace.journal.rows("withdrawals") == recorded
    assert (first.counts["photos"], second.counts["photos"], second.counts["files"]) == (1, 1, 0)


@pytest.mark.case("D08")
@pytest.mark.parametrize(
    "option", [[], ["f" * 64], ["--url", "https://x.example/"], ["--author", "Nobody"], ["--hash", "no"]]
)
def test_what_is_not_known_is_said_and_nothing_is_removed(small: Small, tmp_path: Path, option: list[str]) -> None:
    """One sentence, exit code 2, and every photo is still there."""
    stored = list(small.workspace.blobs.ids())
    place = ["--recipe", str(tmp_path / "small" / "recipe.toml"), "--home", str(small.workspace.home)]
    result = CliRunner().invoke(app, ["withdraw", *option, *place], env={"COUNTERANIMAL_FREE_SPACE_FLOOR_MB": "0"})
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1
    assert option[-1] in result.stderr if option else "nothing is named" in result.stderr
    assert list(small.workspace.blobs.ids()) == stored


def test_a_killed_takedown_goes_on(small: Small) -> None:
    """What a backup or a kill left in the store is removed by the next run of any step, without being asked for again."""
    run = run_of(small)
    gone, data = next((name, small.workspace.blobs.read(name)) for name in small.workspace.blobs.ids())
    withdraw(run, Request(photos=(gone,)))
    small.workspace.blobs.put_many([Blob(data, {"candidate_id": "sample:000"})])
    assert small.workspace.blobs.has(gone)
    snapshot(run)
    assert not small.workspace.blobs.has(gone)


def test_another_key_is_refused_before_anything_is_removed(small: Small, tmp_path: Path) -> None:
    """A list of withdrawals that readers would not believe helps nobody."""
    released(small)
    private, _ = keygen(tmp_path / "other")
    with pytest.raises(PolicyError, match="not signed with"):
        withdraw(run_of(small), Request(photos=(next(iter(small.workspace.blobs.ids())),)), private_key=private)
    assert len(list(small.workspace.blobs.ids())) == 43


@pytest.mark.case("I04")
def test_evaluation_of_a_release_with_withdrawn_photos_names_the_successor(small: Small, tmp_path: Path) -> None:
    """No metric is computed; the sentence says where to go."""
    path = released(small)
    gone = small.workspace.table("pool").column("photo_id").to_pylist()[5]
    withdraw(run_of(small), Request(photos=(gone,)))
    recounted(small)
    released(small, "2.0.0", predecessor="1.0.0")
    evaluator = Evaluator(Settings(home=tmp_path / "none"))
    with pytest.raises(PolicyError, match=r"1 photo\(s\) of small 1.0.0 were withdrawn since; evaluate release 2.0.0"):
        evaluate_release(evaluator, open_release(path), ["stand-in"], photos=tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["bytes", "key", "unsigned", "link"])
def test_a_list_that_is_not_signed_by_the_publisher_is_not_believed(small: Small, tmp_path: Path, damage: str) -> None:
    """The release stays good; the note says why nothing is known of withdrawals."""
    path, run = released(small), run_of(small)
    withdraw(run, Request(photos=(small.workspace.table("pool").column("photo_id").to_pylist()[0],)))
    listed = path.parent / "WITHDRAWN.json"
    if damage == "bytes":
        listed.write_bytes(listed.read_bytes().replace(b"2026", b"2025"))
    elif damage == "key":
        list_withdrawn(run, private_key=keygen(tmp_path / "other")[0])
    elif damage == "unsigned":
        (path.parent / "WITHDRAWN.json.sig").unlink()
    else:
        shutil.move(listed, tmp_path / "elsewhere.json")
        listed.symlink_to(tmp_path / "elsewhere.json")
    report = verify(path, public_key=keys(run)[1])
    assert (report.ok, report.withdrawn) == (True, ())
    assert any("not believed" in note for note in report.notes)


def test_the_list_names_published_photos_only(small: Small) -> None:
    """A photo that no release holds was never public, and is not made so."""
    path = released(small)
    unpublished = next(iter(set(small.workspace.blobs.ids()) - set(open_release(path).entries["photo_id"].to_pylist())))
    withdraw(run_of(small), Request(photos=(unpublished,)))
    assert json.loads((path.parent / "WITHDRAWN.json").read_bytes())["withdrawn"] == {}
