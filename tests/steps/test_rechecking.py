"""Between rebuild and freeze: the pool's photos asked for again, and those of a list left out of the splits and the release."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from counteranimal.cli import app
from counteranimal.errors import UsageError
from counteranimal.evaluate import engine
from counteranimal.freeze.draft import draft
from counteranimal.freeze.gates import LEFT_OUT_LIST, FreezeRefused
from counteranimal.recipe import load_recipe
from counteranimal.settings import load_settings
from counteranimal.steps import publishing, splitting
from counteranimal.steps.inspect import why
from counteranimal.steps.rechecking import leave_out, recheck
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace
from tests.fakes.crawled_site import CrawledSite, answer
from tests.fakes.small_workspace import MODEL, build
from tests.fakes.word_model import WordModel


@pytest.fixture
def site() -> Iterator[CrawledSite]:
    with CrawledSite() as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, site: CrawledSite, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The small workspace, whose photos the site serves."""
    found = WordModel(spec=MODEL)
    for module in (engine, publishing, splitting):
        monkeypatch.setattr(module, "load_model", lambda *_, **__: found)
    small = build(tmp_path / "home")
    workspace = small.workspace
    candidates = workspace.table("candidates").to_pylist()
    moved = [{**row, "url": f"{site.url}/{row['native_id']}.jpg"} for row in candidates]
    workspace.journal.append("candidates", moved)
    for row in workspace.journal.rows("stored"):
        name = row["candidate_id"].partition(":")[2]
        site.pages[f"/{name}.jpg"] = answer(workspace.blobs.read(row["photo_id"]))
    path = tmp_path / "home" / "recipe.toml"
    paced = f'kind = "folder"\nloopback = ["{site.pair}"]\nrequests_per_minute = 100000\ninterval_seconds = 0.0'
    path.write_text(path.read_text().replace('kind = "folder"', paced))
    recipe = load_recipe(path)
    settings = load_settings(cache=tmp_path / "cache", device="cpu", workers=1, free_space_floor_mb=0)
    return Run(recipe=recipe, workspace=workspace, settings=settings, now=now)


def pooled(workspace: Workspace) -> list[str]:
    return list(workspace.table("pool").column("photo_id").to_pylist())


@pytest.mark.case("D09")
def test_gone_photos_are_listed_and_left_out(run: Run, site: CrawledSite) -> None:
    """Two of 40 are gone on two days, one is opted out: listed, refused by the gate, and absent once the list is given; the card's counts say so."""
    workspace = run.workspace
    splitting.splits(run)
    before = pooled(workspace)
    for photo_id in before[:2]:
        name = workspace.journal.rows("stored", photo_id=photo_id)[0]["candidate_id"].partition(":")[2]
        del site.pages[f"/{name}.jpg"]
    name = workspace.journal.rows("stored", photo_id=before[2])[0]["candidate_id"].partition(":")[2]
    site.pages[f"/{name}.jpg"] = answer(workspace.blobs.read(before[2]), X_Robots_Tag="noai")
    first = recheck(run).counts
    assert (first["same"], first["gone"], first["candidates_for_removal"]) == (37, 2, 0)
    place = workspace.home / LEFT_OUT_LIST
    assert place.read_text().split() == [before[2]]
    second = recheck(dataclasses.replace(run, now=run.now + timedelta(days=1, minutes=1)))
    assert second.counts["candidates_for_removal"] == 2
    assert place.read_text().split() == sorted(before[:3])
    small = build(workspace.home.parent / "terms")
    with pytest.raises(FreezeRefused, match=r"2 photo\(s\) are gone upstream"):
        draft(run.recipe, workspace, small.terms)
    assert leave_out(run, place) == 3
    splitting.choose_splits(run)
    assert leave_out(run, place) == 0
    made = draft(run.recipe, workspace, small.terms)
    assert set(made.tables["entries"].column("photo_id").to_pylist()) == set(before[3:])
    assert made.manifest["photos"]["left_out"]["left_out_by_list"] == 3
    assert made.manifest["counts"]["entries"] == len(before) - 3
    told = why(workspace, before[0])
    assert [row["status"] for row in told["rechecks"]] == ["gone", "gone"]
    assert [row["photo_id"] for row in told["left_out"]] == [before[0]]


@pytest.mark.parametrize("lines", ["# gone\n\nnot-a-photo\n", "f" * 64 + "\n"])
def test_a_list_that_names_other_things_changes_nothing(run: Run, tmp_path: Path, lines: str) -> None:
    """The line is named, also behind a good one, and no photo of the list is left out."""
    place = tmp_path / "list.txt"
    place.write_text(f"{pooled(run.workspace)[0]}\n{lines}")
    with pytest.raises(UsageError, match=r"line [24] of .*list.txt is no photo of the coming release"):
        leave_out(run, place)
    assert run.workspace.journal.rows("left_out") == []
    with pytest.raises(UsageError, match="cannot be read"):
        leave_out(run, tmp_path / "absent.txt")


def test_recheck_takes_no_option_of_a_crawl(tmp_path: Path) -> None:
    """Exit code 2 and one sentence."""
    asked = [
        "crawl",
        "--recheck",
        "--limit",
        "3",
        "-r",
        str(tmp_path / "recipe.toml"),
        "--home",
        str(tmp_path / "home"),
    ]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "leave the other options away" in result.stderr


def test_a_freeze_without_chooses_the_splits_anew_before_its_gates(run: Run, tmp_path: Path) -> None:
    """The freeze is refused, since nobody voted here; none of its reasons is the list, which the pool follows already."""
    place, before = tmp_path / "list.txt", pooled(run.workspace)
    place.write_text(f"# gone\n{before[0]}\n")
    with pytest.raises(FreezeRefused) as refused:
        publishing.freeze(run, version="1.0.0", without=place)
    assert not [problem for problem in refused.value.problems if "list" in problem or before[0][:12] in problem]
    assert set(pooled(run.workspace)) == set(before[1:])
    assert before[0] not in run.workspace.table("splits").column("photo_id").to_pylist()


def test_the_verb_says_that_answers_are_missing(run: Run, site: CrawledSite, tmp_path: Path) -> None:
    """Exit code 4 while a server is busy, also on the next run, since the host asked to be left alone."""
    name = run.workspace.journal.rows("stored", photo_id=pooled(run.workspace)[0])[0]["candidate_id"].partition(":")[2]
    site.pages[f"/{name}.jpg"] = answer(status=503, Retry_After="7200")
    run.workspace.journal.close(sealed=True)
    asked = ["crawl", "--recheck", "-r", str(tmp_path / "home" / "recipe.toml"), "--home", str(run.workspace.home)]
    environment = {"COUNTERANIMAL_FREE_SPACE_FLOOR_MB": "0"}
    result = CliRunner().invoke(app, asked, env=environment)
    assert result.exit_code == 4, result.output
    assert "not answered for; run the same command again later" in result.stderr
    asked_before = len(site.paths())
    assert CliRunner().invoke(app, asked, env=environment).exit_code == 4
    assert len(site.paths()) == asked_before
