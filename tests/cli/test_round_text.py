"""What a round's verbs print for people, beside the JSON they print for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from counteranimal.cli.round_text import pull_text, push_text
from tests.fakes.command_line import enter, said
from tests.fakes.photo_pool import fill


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Forty kept photos in the workspace of the working folder, and a recipe."""
    return fill(enter(tmp_path, monkeypatch), 40)


def test_a_plan_tells_votes_gold_seed_hours_and_what_is_still_needed(photos: list[str]) -> None:
    """The plan of ADR 10: what the recipe decides is shown, and the next command is named."""
    Path("home/rounds").mkdir(exist_ok=True)
    Path("home/rounds/gold.csv").write_text(f"photo_id,background\n{photos[0]},grass\n")
    command = "annotate plan --round r1 --worker anna --worker ben --seed spring --drop 20"
    text = said(command)
    assert "round r1: 39 photos, 2 votes each\n" in text
    assert "; 2 gold items beside them\n" in text
    assert "shares anna 40, ben 40; the longest takes about 0.11 hours" in text
    assert "drawn from the seed 'spring'" in text
    assert text.rstrip().endswith("next: counteranimal annotate push --round r1")
    again = json.loads(said(command + " --json"))
    assert re.search(rf"^dog +\w+ and \w+ +{again['needed']['dog']['wanted']} ", text, re.MULTILINE)
    assert "r1 (planned before, unchanged): 39 photos" in said(command)
    status = said("annotate status").splitlines()
    assert status[0].split() == ["round", "photos", "person", "tasks", "accepted", "rejected", "skipped", "pending"]
    assert status[1].split() == ["r1", "open", "39", "anna", "40", "0", "0", "0", "40"]
    assert said("annotate close --round r1").splitlines()[1] == "  anna 40"


def test_agreement_is_a_table_with_intervals_and_json_has_every_figure(photos: list[str]) -> None:
    """Each figure of the text is the JSON's, rounded, with its interval beside it; no line is wider than a terminal."""
    lines = ["sha256,background_1,flags_1,background_2,flags_2"]
    for number, name in enumerate(photos):
        second = "sand" if number % 8 == 0 else ("grass", "snow")[number % 2]
        flag = "text_or_watermark" if number < 6 else "none"
        lines.append(f"{name},{('grass', 'snow')[number % 2]},{flag},{second},{flag if number < 4 else 'none'}")
    Path("votes.csv").write_text("\n".join(lines) + "\n")
    assert "photos 40, votes 80, new 80" in said("annotate pull --from votes.csv --round shared")
    text = said("annotate agreement --round shared")
    found = json.loads(said("annotate agreement --round shared --json"))
    assert set(found) == {
        "rounds", "background", "fleiss", "usable", "per_class", "codes", "workers", "pairs", "gate", "why", "proposals",
    }  # fmt: skip
    assert text.startswith(f"gate: {found['gate']}, alpha ")
    assert max(map(len, text.splitlines())) <= 118
    assert "{" not in text
    (pair,) = found["pairs"]
    expected = {
        "background alpha": found["background"]["alpha"],
        "background Fleiss' kappa": found["fleiss"]["kappa"],
        "background, cat alpha": found["per_class"]["cat"]["alpha"],
        "text_or_watermark": found["codes"]["text_or_watermark"]["positive"],
        "labelling-1 and labelling-2": pair["kappa"],
    }
    bounds = [
        found["background"],
        found["fleiss"],
        found["per_class"]["cat"],
        found["codes"]["text_or_watermark"],
        pair,
    ]
    squeezed = [re.sub(" +", " ", line) for line in text.splitlines()]
    for (name, value), item in zip(expected.items(), bounds, strict=True):
        wanted = f"{name} {value:.3f} {item['low']:.3f} to {item['high']:.3f} "
        assert [line for line in squeezed if f"{line} ".startswith(wanted)], wanted
    assert [line for line in squeezed if line.startswith("usable alpha - - 1.000 1.000 to 1.000 40 80")]


def test_agreement_without_votes_says_why_it_blocks(photos: list[str]) -> None:
    """Tables without rows, and no traceback."""
    said("annotate plan --round r1 --worker anna --worker ben")
    assert said("annotate agreement").startswith("gate: block, alpha is undefined")


def test_what_a_pull_found_beside_answers_is_a_sentence_each() -> None:
    """Only what is not zero, in words."""
    counts = dict.fromkeys(("new", "edited", "known", "missing", "missing_tasks", "missing_projects", "foreign"), 0)
    counts |= {"changed_pages": 1, "shared_accounts": 0, "counted": 3, "skipped": 0, "draft": 0, "set_aside": 1}
    text = pull_text({"round": "r1", **counts, "new": 4})
    assert text.splitlines() == [
        "round r1: 4 new answers, 0 corrected, 0 known before",
        "  on the server now: counted 3, skipped 0, draft 0, set aside 1",
        "  1 projects show another page than the planned one",
    ]


def test_addresses_are_never_cut() -> None:
    """However long a server's name is: people copy the address."""
    page = f"http://{'labels.' * 20}example/projects/1/data?labeling=1"
    counts = dict.fromkeys(("projects", "tasks", "found", "known", "left_out", "relinked"), 0)
    assert page in push_text({"round": "r1", **counts, "pages": {"anna": page}})
    assert "nothing to settle" in push_text({"round": "r1.settled", "queued": 0})
