"""The paper's printed tables: the known errors are found by rule, and sound tables give none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.score_paper import DEFAULT, RULES, Row, Tables, check, macro_means, read_tables, repaired

COUNTS = (87, 113, 206)


@pytest.fixture(scope="module")
def printed() -> Tables:
    if not DEFAULT.is_dir():
        pytest.skip(f"the paper's tables are not at {DEFAULT}")
    return read_tables(DEFAULT)


@pytest.fixture
def sound() -> Tables:
    """Two models on three classes whose every figure agrees."""
    read = Tables()
    for key, n in enumerate(COUNTS):
        read.counts[key] = {"common": n, "counter": n - 7}
        for model, right in (("a", n - 20), ("b", n - 31)):
            common, counter = round(100 * right / n, 2), round(100 * (right // 2) / (n - 7), 2)
            read.classwise.setdefault(model, {})[key] = Row(model, common, counter, round(common - counter, 2))
        read.figure[key] = round(read.classwise["a"][key].drop, 1)
    means = []
    for model, rows in read.classwise.items():
        common, counter = (round(sum(getattr(r, s) for r in rows.values()) / 3, 2) for s in ("common", "counter"))
        means.append(Row(model, common, counter, round(common - counter, 2)))
    read.settings = {"table 3": means, "table 5": [Row("a", 50.0, 40.0, 10.0)]}
    return read


def test_sound_tables_have_no_finding(sound: Tables) -> None:
    """Figures that agree are left in peace."""
    assert check(sound) == []


@pytest.mark.parametrize("rule", ["count", "fraction", "drop", "figure", "macro", "copied"])
def test_each_rule_finds_what_is_planted(sound: Tables, rule: str) -> None:
    """One misprint of each kind is found by the rule that is there for it."""
    row = sound.classwise["a"][2]
    if rule == "count":
        sound.counts[2]["common"] = 7
    elif rule == "fraction":
        sound.classwise["a"][2] = Row("a", row.common + 0.13, row.counter, row.drop)
    elif rule == "drop":
        sound.classwise["a"][2] = Row("a", row.common, row.counter, row.drop + 1.0)
    elif rule == "figure":
        sound.figure[2] += 1.0
    elif rule == "macro":
        sound.settings["table 3"][0] = Row("a", sound.settings["table 3"][0].common + 1.0, 0.0, 0.0)
    else:
        sound.settings["table 5"] = [sound.settings["table 3"][0]]
    assert rule in {finding.rule for finding in check(sound)}
    assert rule in RULES


@pytest.mark.shared
def test_the_known_errors_are_found_and_nothing_else(printed: Tables) -> None:
    """The list of inconsistencies that recomputation by hand gave is what the rules give."""
    found = check(printed)
    by_rule = {rule: [finding for finding in found if finding.rule == rule] for rule in RULES}
    assert [len(items) for items in by_rule.values()] == [1, 1, 6, 1, 1, 6]
    assert [(f.printed, f.fits) for f in by_rule["count"]] == [("25", "259; all photos 13,334 instead of 13,100")]
    assert [(f.place, f.fits) for f in by_rule["fraction"]] == [
        ("tables 15-16, CLIP-OpenAI-ViT/B/32, class 37, counter", "66.22")
    ]
    assert {f.printed for f in by_rule["drop"]} == {"27.41", "19.34", "16.36", "18.18", "10.97", "15.29"}
    assert any(f.fits == "6.36, or counter 83.64" for f in by_rule["drop"])
    assert [f.place.rsplit(", ", 1)[-1] for f in by_rule["figure"]] == ["class 14"]
    assert [f.place for f in by_rule["copied"]].count("table 10 (80 templates), CLIP-LAION2B-ViT/bigG/14") == 1
    assert sum(f.place.startswith("table 5") for f in by_rule["copied"]) == 5


@pytest.mark.shared
def test_class_tables_reproduce_the_macro_means(printed: Tables) -> None:
    """With the two misprints that other figures give away put right, all five models agree with table 3 to 0.06."""
    rows = repaired(printed).classwise["CLIP-OpenAI-ViT/B/32"]
    assert (rows[37].counter, rows[39].counter) == (66.22, 83.64)
    changed = [
        (model, key)
        for model, rows in printed.classwise.items()
        for key, row in rows.items()
        if row != repaired(printed).classwise[model][key]
    ]
    assert changed == [("CLIP-OpenAI-ViT/B/32", 37), ("CLIP-OpenAI-ViT/B/32", 39)]
    for mean, table3 in macro_means(repaired(printed)).values():
        assert abs(mean.common - table3.common) <= 0.06
        assert abs(mean.counter - table3.counter) <= 0.06


def test_a_missing_folder_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the tables the command says so and ends with 4."""
    from bench.score_paper import main

    assert main([str(tmp_path / "nowhere")]) == 4
    assert "no paper tables" in capsys.readouterr().err
