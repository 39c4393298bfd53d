"""The pipeline from a folder of real photos to an evaluated release, with two recorded labellings as votes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from counteranimal.release.read import open_release
from counteranimal.release.verify import verify
from tests.fakes.read_elsewhere import assert_read_elsewhere

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("counteranimal")
pytestmark = [pytest.mark.shared, pytest.mark.model, pytest.mark.xdist_group("shared-photos")]


def _run(*arguments: str, expect: int = 0) -> str:
    done = subprocess.run([str(COMMAND), *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == expect, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def _frozen(name: str, home: Path, shared_data: Path) -> Path:
    """Run everything from the crawl to the freeze and return the release."""
    where = ("-r", f"data_manifest/recipes/{name}.toml", "--home", str(home))
    _run("crawl", *where)
    _run("dedupe", *where)
    labellings = shared_data / "photos" / "backgrounds.csv"
    _run("annotate", "pull", "--round", "recorded", "--from", str(labellings), *where)
    _run("rebuild", *where)
    _run("freeze", "1.0.0", *where)
    return home / "releases" / "1.0.0"


@pytest.fixture(scope="module")
def dogs_and_cats(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The workspace of the two-class benchmark, frozen."""
    home = tmp_path_factory.mktemp("dogs-and-cats")
    _frozen("dogs-and-cats", home, shared_data)
    return home


def test_two_classes_of_many_indices_freeze_and_verify(dogs_and_cats: Path) -> None:
    """The dog class has a pair of backgrounds, the cat class too few photos for one, and both are published."""
    path = dogs_and_cats / "releases" / "1.0.0"
    release = open_release(path)
    assert {row["class_id"]: row["status"] for row in release.pairs.to_pylist()} == {"dog": "pair", "cat": "no_pair"}
    assert release.class_indices["dog"] == tuple(range(151, 269))
    grouped = [row for row in release.splits.to_pylist() if row["group"] != "other" and row["fold"] == "report"]
    (balance,) = release.manifest["covariates"].values()
    # Nine photos a group are too few to weigh; how many were compared is said all the same.
    assert (balance["n"], balance["without_measures"], balance["differences"]) == (len(grouped), 0, {})
    found = verify(path, public_key=dogs_and_cats / "keys" / "release-key.pub.pem", photos=dogs_and_cats / "photos")
    assert found.ok
    assert found.signature == "good"
    assert found.counts["photos"] == len(release.entries)


def test_standard_tool_checks_the_sums(dogs_and_cats: Path) -> None:
    """`sha256sum -c SHA256SUMS` accepts the release as it stands."""
    release = dogs_and_cats / "releases" / "1.0.0"
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=release, check=True)


def test_other_packages_read_it(dogs_and_cats: Path, tmp_path: Path) -> None:
    """What people open releases with finds in this one what stands in it."""
    assert_read_elsewhere(dogs_and_cats / "releases" / "1.0.0", dogs_and_cats / "photos", tmp_path)


@pytest.mark.parametrize("what", ["photos", "entries.csv", "release.json", "SHA256SUMS"])
def test_one_changed_byte_is_named_with_exit_code_three(dogs_and_cats: Path, tmp_path: Path, what: str) -> None:
    """A changed byte of any photo or file makes verify name it and end with 3."""
    release = tmp_path / "1.0.0"
    shutil.copytree(dogs_and_cats / "releases" / "1.0.0", release)
    photos = tmp_path / "photos"
    shutil.copytree(dogs_and_cats / "photos", photos)
    target = sorted(photos.iterdir())[7] if what == "photos" else release / what
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.chmod(0o644)
    target.write_bytes(bytes(data))
    key = dogs_and_cats / "keys" / "release-key.pub.pem"
    said = _run("verify", str(release), "--key", str(key), "--photos", str(photos), expect=3)
    named = target.stem if what == "photos" else what
    assert named in said


def test_evaluation_covers_both_protocols_and_every_model(dogs_and_cats: Path, tmp_path: Path) -> None:
    """Classifiers and the stand-in are judged 1 vs 1000 and 1 vs 20 on every photo, with and without five that a training set holds."""
    out, listed = tmp_path / "results", tmp_path / "train.parquet"
    (tmp_path / "train").mkdir()
    for path in sorted((dogs_and_cats / "photos").iterdir())[:5]:
        shutil.copy(path, tmp_path / "train")
    _run("fingerprint", str(tmp_path / "train"), "--out", str(listed))
    models = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "stand-in")
    chosen = [word for model in models for word in ("--model", model)]
    release = dogs_and_cats / "releases" / "1.0.0"
    photos = ("--photos", str(dogs_and_cats / "photos"), "--against", str(listed))
    said = _run("evaluate", str(release), *photos, *chosen, "-o", str(out))
    document = json.loads((out / "results.json").read_text())
    overlap = document["counteranimal"]["training_overlap"]
    assert f"training overlap 5 of {overlap['photos']} photos are in train" in " ".join(said.split())
    # 1 vs 20 judges no photo of a class without a pair: such a class has no candidates.
    assert {row["found"]["n"] for row in overlap["accuracy"] if row["protocol"] == "1v1000"} == {5}
    assert {row["found"]["n"] for row in overlap["accuracy"] if row["protocol"] == "1v20"} <= {1, 2, 3, 4, 5}
    assert len(document["results"]) == 2 * len(models)
    text = json.dumps(document)
    assert "not CLIP" in text
    for model in models:
        assert model in text
    # The page of figures says what this command finds; `--against` adds a fold and changes none.
    page = (REPOSITORY / "docs" / "explanation" / "models-without-a-hub.md").read_text(encoding="utf-8")
    assert page.endswith((out / "leaderboard.md").read_text(encoding="utf-8"))


@pytest.mark.soak
def test_breeds_freeze_with_no_pair(dogs_and_cats: Path, tmp_path: Path, shared_data: Path) -> None:
    """The same photos by breed have no class with enough photos on two backgrounds, and freeze all the same.

    What was computed of the photos' bytes alone is taken over: it is the same under every recipe.
    """
    for name in ("embeddings", "fingerprints"):
        shutil.copytree(dogs_and_cats / "tables" / name, tmp_path / "tables" / name)
    release = open_release(_frozen("breeds", tmp_path, shared_data))
    assert {row["status"] for row in release.pairs.to_pylist()} == {"no_pair"}
    assert len(release.pairs) == 24
