"""The original archive as a release: its folders are the labels, its oddities are told, and nothing unknown is made up."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from counteranimal.cli import app
from counteranimal.errors import UsageError
from counteranimal.freeze.original import Archive, draft_of, read_archive
from counteranimal.freeze.sign import keygen
from counteranimal.release.read import Release, open_release
from counteranimal.release.verify import verify

NOW = datetime(2026, 11, 5, 12, 0, tzinfo=UTC)


def jpeg(seed: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (70, 90, 3), dtype=np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive as its users describe it: two classes, a stem twice, a cut photo, a copy, a contradiction, a table and a script."""
    place = tmp_path_factory.mktemp("archive")
    root = place / "LAION-final"
    files = {
        "100 black swan, Cygnus atratus/common-water/a.jpg": jpeg(1),
        "100 black swan, Cygnus atratus/common-water/a.jpeg": jpeg(2),
        "100 black swan, Cygnus atratus/common-water/again.jpg": jpeg(1),
        "100 black swan, Cygnus atratus/counter-ground/b.jpg": jpeg(3),
        "100 black swan, Cygnus atratus/counter-ground/cut.jpg": jpeg(4)[:-900],
        "23 Vulture/common-sky/c.jpg": jpeg(5),
        "23 Vulture/counter-tree/d.jpeg": jpeg(6),
        "23 Vulture/counter-tree/both.jpg": jpeg(7),
        "23 Vulture/common-sky/both.jpg": jpeg(7),
        "23 Vulture/notes.txt": b"a note",
        "imagenet_names.txt": b"0\ttench",
        "split.py": b"print()",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return place


@pytest.fixture(scope="module")
def archive(unpacked: Path) -> Archive:
    return read_archive(unpacked)


@pytest.fixture(scope="module")
def imported(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, str, Path]:
    """The release that the verb writes, what it said, and the public key."""
    place = tmp_path_factory.mktemp("imported")
    private, public = keygen(place / "keys")
    counts = place / "counts.csv"
    counts.write_text("index,common,counter\n100,2,1\n23,25,264\n")
    result = CliRunner().invoke(
        app,
        ["import-original", str(unpacked), "-o", str(place), "--key", str(private), "--counts", str(counts)],
        env={"COUNTERANIMAL_WORKERS": "1"},
    )
    assert result.exit_code == 0, result.output
    return open_release(place / "releases" / "1.0.0"), result.output, public


def test_folders_are_labels(imported: tuple[Release, str, Path]) -> None:
    """Groups, ImageNet indices, backgrounds in this vocabulary, and the hash of every photo."""
    release, _, _ = imported
    placed = {row["photo_id"]: row for row in release.splits.to_pylist()}
    told = {
        row["native_id"]: (
            row["class_id"],
            row["imagenet_indices"],
            row["background"],
            placed[row["photo_id"]]["group"],
        )
        for row in release.entries.to_pylist()
    }
    swan, vulture = "100 black swan, Cygnus atratus", "23 Vulture"
    assert told == {
        f"{swan}/common-water/a.jpeg": ("100-black-swan", [100], "water", "common"),
        f"{swan}/common-water/a.jpg": ("100-black-swan", [100], "water", "common"),
        f"{swan}/counter-ground/b.jpg": ("100-black-swan", [100], "ground", "counter"),
        f"{vulture}/common-sky/c.jpg": ("023-vulture", [23], "sky", "common"),
        f"{vulture}/counter-tree/d.jpeg": ("023-vulture", [23], "tree", "counter"),
    }


def test_it_verifies_and_claims_nothing(imported: tuple[Release, str, Path]) -> None:
    """Signature, tables and counts are good; licence, author and votes are unknown, on the card and in every row."""
    release, _, public = imported
    report = verify(release.path, public_key=public)
    assert (report.problems, report.signature) == ((), "good")
    for row in release.entries.to_pylist():
        assert (row["licence"], row["author"], row["n_votes"], row["method"]) == (
            "LicenseRef-unknown",
            None,
            0,
            "given",
        )
    card = (release.path / "CARD.md").read_text()
    for words in (
        "No licence, author, source id or date is known",
        "must not be published",
        "not defined for these votes",
    ):
        assert words in card
    assert release.manifest["splits"][0]["rule"]["rule"] == "paper"
    states = release.manifest["conservation"]["states"]
    assert states == {"stored": 5, "duplicate": 1, "rejected": 3}


def test_oddities_are_told(archive: Archive, imported: tuple[Release, str, Path]) -> None:
    """The cut photo, the contradiction, the copy, the stem that two files share, what was skipped, and the paper's counts."""
    reasons = {item.path.rpartition("/")[2]: item.reason for item in archive.rejected}
    assert reasons == {"again.jpg": "exact", "cut.jpg": "E_TRUNCATED", "both.jpg": "class_conflict"}
    assert archive.collisions == ["100 black swan, Cygnus atratus/common-water/a"]
    assert archive.skipped == ["23 Vulture/notes.txt"]
    said = imported[1]
    for words in ("cut.jpg: E_TRUNCATED", "common-water/a", "common: 3 photos, the paper states 7174",
                  "class 23 common: 1 photos, the table states 25"):  # fmt: skip
        assert words in said
    assert "class 100 common" not in said


def test_the_same_archive_gives_the_same_release(archive: Archive) -> None:
    """Tables and manifest do not depend on anything but the files and the moment."""
    one, two = (draft_of(archive, version="1.0.0", at=NOW) for _ in range(2))
    assert json.dumps(one.manifest) == json.dumps(two.manifest)
    assert one.tables["entries"].equals(two.tables["entries"])


def test_another_folder_is_a_usage_error(tmp_path: Path) -> None:
    """The sentence shows what is looked for; a readable archive without readable photos is said, too."""
    with pytest.raises(UsageError, match="100 black swan/common-water"):
        read_archive(tmp_path)
    with pytest.raises(UsageError, match="no photo"):
        draft_of(Archive(), version="1.0.0", at=NOW)
