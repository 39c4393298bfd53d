"""Data files come from the installed package first, from the checkout second, and a broken installation says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from counteranimal.errors import MissingDependency
from counteranimal.resources import resource


def planted(folder: Path, text: str) -> Path:
    """Make a root that holds one data file."""
    (folder / "data_manifest").mkdir(parents=True)
    (folder / "data_manifest" / "backgrounds.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_packaged_copy_comes_first(tmp_path: Path) -> None:
    """A wheel reads its own copy even where a checkout lies beside it."""
    packaged, repository = planted(tmp_path / "a", "packaged"), planted(tmp_path / "b", "repository")
    path = resource("data_manifest/backgrounds.toml", packaged=packaged, repository=repository)
    assert path.read_text(encoding="utf-8") == "packaged"


def test_the_checkout_comes_second(tmp_path: Path) -> None:
    """An editable install has no packaged copy and reads the repository's."""
    repository = planted(tmp_path / "b", "repository")
    path = resource("data_manifest/backgrounds.toml", packaged=tmp_path / "absent", repository=repository)
    assert path.read_text(encoding="utf-8") == "repository"


def test_a_missing_file_names_itself_and_the_next_step(tmp_path: Path) -> None:
    """Without either copy the message says which file and what to do; the exit code is the environment's."""
    with pytest.raises(MissingDependency, match=r"lacks data_manifest/x\.toml; install") as caught:
        resource("data_manifest/x.toml", packaged=tmp_path, repository=tmp_path)
    assert caught.value.exit_code == 4


def test_the_vocabulary_and_the_class_names_are_found() -> None:
    """What the code reads is there in this installation."""
    for name in ("data_manifest/backgrounds.toml", "data_manifest/classes/imagenet1k.csv"):
        assert resource(name).is_file()
