"""The gallery's files: every photo on its class's page, credited and escaped, with nothing loaded from elsewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from counteranimal.errors import UsageError
from counteranimal.release.read import Release, open_release
from counteranimal.report.gallery import write_gallery
from tests.fakes.small_release import Released, released, small

__all__ = ["released", "small"]


@pytest.fixture(scope="module")
def release(released: Released) -> Release:
    return open_release(released.folder)


@pytest.fixture(scope="module")
def pages(released: Released, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery of the small release."""
    out = tmp_path_factory.mktemp("gallery")
    assert write_gallery(release, released.photos, out) == {"classes": 4, "photos": 40, "missing": 0}
    return out


def test_each_photo_stands_on_its_class_s_page(release: Release, pages: Path) -> None:
    """Once, in its group, with its credit, licence, votes and prediction."""
    group_of = {row["photo_id"]: row["group"] for row in release.splits.to_pylist()}
    for entry in release.entries.to_pylist():
        text = (pages / f"class-{entry['class_id']}.html").read_text(encoding="utf-8")
        assert text.count(f"<code>{entry['photo_id']}</code>") == 1
        before = text[: text.index(entry["photo_id"])]
        assert re.findall(r'<section aria-labelledby="(\w+)"', before)[-1] == group_of[entry["photo_id"]]
    text = (pages / "class-ostrich.html").read_text(encoding="utf-8")
    assert "2, unanimous" in text
    assert "1v1000: ostrich, right, true class at rank 1" in text
    lions = (pages / "class-lion.html").read_text(encoding="utf-8")
    assert "1v1000: tiger, wrong, true class at rank 4" in lions


def test_nothing_foreign_runs_or_loads(pages: Path) -> None:
    """Names from upstream are text, one script is allowed by its digest, and no address is loaded."""
    for page in pages.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert text.count("<script>") == (0 if page.name == "index.html" else 1)
        assert "default-src 'none'" in text
        assert not re.findall(r'(?:src|srcset)="(?!photos/)', text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (pages / "class-zebra.html").read_text(encoding="utf-8")


def test_small_copies_are_small_and_bare(pages: Path) -> None:
    """At most 320 pixels a side and no metadata."""
    photos = sorted((pages / "photos").iterdir())
    assert len(photos) == 40
    for path in photos[:5]:
        with Image.open(path, formats=["JPEG"]) as image:
            assert max(image.size) <= 320
            assert not image.getexif()


@pytest.mark.case("D05")
def test_a_withdrawn_photo_leaves_the_next_gallery(
    released: Released, release: Release, pages: Path, tmp_path: Path
) -> None:
    """Pages and small copies that are no longer shown are removed; a photo that is not at hand is shown as missing."""
    out = shutil.copytree(pages, tmp_path / "gallery")
    photos = shutil.copytree(released.photos, tmp_path / "photos")
    entry = release.entries.to_pylist()[0]
    (photos / f"{entry['published_sha256']}.jpg").unlink()
    small_copy = out / "photos" / f"{entry['published_sha256'][:24]}-320.jpg"
    small_copy.unlink()
    (out / "class-gone.html").write_text("an earlier class")
    (out / "photos" / f"{'0' * 24}-320.jpg").write_bytes(b"an earlier photo")
    assert write_gallery(release, photos, out)["missing"] == 1
    assert not (out / "class-gone.html").exists()
    assert len(list((out / "photos").iterdir())) == 39
    text = (out / f"class-{entry['class_id']}.html").read_text(encoding="utf-8")
    assert f"photo {entry['photo_id'][:12]} is not at hand" in text


def test_an_unknown_split_is_a_usage_error(released: Released, release: Release, tmp_path: Path) -> None:
    """It says which there are."""
    with pytest.raises(UsageError, match="choose from first"):
        write_gallery(release, released.photos, tmp_path, split="second")
