"""What a machine remembers of a publisher: a newest release that is older than one seen before is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from counteranimal.cli import app
from counteranimal.errors import IntegrityError
from counteranimal.release.seen import Seen
from tests.fakes.small_release import Released, reseal, rewrite

KEY, NAME = "ab" * 32, "bench"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "counteranimal" / "releases-seen.json"


def check(path: Path, released: Released, code: int) -> str:
    """Verify by the command line with the publisher's key."""
    result = CliRunner().invoke(app, ["verify", str(path), "--key", str(released.public_key)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def releases(released: Released, tmp_path: Path) -> Path:
    """A folder of two signed releases, 1.0.0 and 1.1.0."""
    folder = tmp_path / "releases"
    for version in ("1.0.0", "1.1.0"):
        shutil.copytree(released.folder, folder / version)
        rewrite(folder / version, released.private_key, {}, version=version)
    return folder


@pytest.mark.case("H09")
@pytest.mark.parametrize("by", ["folder", "latest"])
def test_the_newest_pointed_back_is_refused(releases: Path, released: Released, memory: Path, by: str) -> None:
    """Once 1.1.0 was seen, 1.0.0 is not taken for the newest, though its signature is good; asked for by name it is fine."""
    assert "1.1.0 verifies" in check(releases, released, 0)
    assert json.loads(memory.read_bytes())
    latest = releases / "latest"
    if by == "folder":
        shutil.rmtree(releases / "1.1.0")
    else:
        latest.symlink_to("1.0.0")
    assert "1.1.0 was seen before" in check(releases if by == "folder" else latest, released, 3)
    assert "1.0.0 verifies" in check(releases / "1.0.0", released, 0)


@pytest.mark.case("H09")
def test_a_version_that_changed_is_refused(releases: Path, released: Released, memory: Path) -> None:
    """The publisher's own key does not make a version other than it was."""
    check(releases / "1.0.0", released, 0)
    rewrite(releases / "1.0.0", released.private_key, {}, title="Another title")
    assert "a version never changes" in check(releases / "1.0.0", released, 3)


def test_only_a_pinned_key_is_remembered(releases: Path, released: Released, memory: Path) -> None:
    """Without --key, with a bad release or unsigned, nothing is remembered."""
    assert CliRunner().invoke(app, ["verify", str(releases)]).exit_code == 0
    reseal(releases / "1.1.0", None)
    check(releases, released, 3)
    assert not memory.exists()


def test_a_memory_that_cannot_be_written_is_a_note(releases: Path, released: Released, memory: Path) -> None:
    """The release is good all the same."""
    memory.parent.parent.write_text("a file where a folder belongs")
    assert "could not be remembered" in check(releases / "1.0.0", released, 0)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"k":{"n":{"1.0.0":1}}}', b'{"k":[]}'])
def test_a_damaged_memory_is_not_started_afresh(tmp_path: Path, content: bytes) -> None:
    """It says which file to mend."""
    (tmp_path / "seen.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"seen\.json"):
        Seen(tmp_path / "seen.json")


def test_names_and_keys_are_apart(tmp_path: Path) -> None:
    """What one publisher released says nothing about another, nor one benchmark about the next."""
    seen = Seen(tmp_path / "seen.json")
    seen.remember(KEY, NAME, "2.0.0", "a" * 64)
    again = Seen(tmp_path / "seen.json")
    again.judge("cd" * 32, NAME, "1.0.0", "b" * 64, newest=True)
    again.judge(KEY, "other", "1.0.0", "b" * 64, newest=True)
    with pytest.raises(IntegrityError, match=r"2\.0\.0 was seen"):
        again.judge(KEY, NAME, "1.10.0", "b" * 64, newest=True)
