"""The card, the attribution list, the changes and the Croissant description: computed, complete and harmless."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from counteranimal import tables
from counteranimal.freeze.draft import assemble
from counteranimal.freeze.inputs import gather
from counteranimal.freeze.photos import copies_of
from counteranimal.freeze.render import render
from counteranimal.release.layout import PUBLISHED_TABLES, SUMMED_FILES, table_file
from counteranimal.release.manifest import parse
from counteranimal.release.sums import digest_of_bytes
from tests.fakes.small_release import Released
from tests.fakes.small_workspace import IDENTITY, Small, terms


def _text(released: Released, name: str) -> str:
    return (released.folder / name).read_text(encoding="utf-8")


def test_the_card_says_what_must_be_known(released: Released) -> None:
    """Composites are called composites, the stand-in is not called CLIP, and figures carry intervals."""
    card = _text(released, "CARD.md")
    assert "8 of 40 photos are composites" in card
    assert "They do not cover the choice of scenes" in card
    assert "It is not CLIP" in card
    assert card.count("CLIP") == len(re.findall("It is not CLIP|says nothing about CLIP", card)) == 2
    assert "+40.0 (-10.0 to +70.0)" in card
    assert "0.910 (95 % interval 0.840 to 0.960) over 41 photos" in card
    assert "No pair of backgrounds qualifies for 1 of 4: otter." in card
    assert "2 left out (not\\_labelled 1, unusable 1)" in card


def test_every_number_of_the_card_is_computed(small: Small) -> None:
    """Another workspace gives another card: without composites and the stand-in, their caveats are gone."""
    inputs = gather(small.recipe, small.workspace)
    candidates = [row | {"kind": "photo"} for row in inputs.tables["candidates"].to_pylist()]
    changed = type(inputs)(
        recipe=inputs.recipe, tables={**inputs.tables, "candidates": tables.conform("candidates", candidates)}
    )
    copies, _ = copies_of(small.workspace.blobs, inputs.tables["pool"].column("photo_id").to_pylist())
    selectors = {"first": {**IDENTITY, "family": "imagenet", "spec": "timm:resnet50"}}
    files = render(assemble(changed, terms(selectors=selectors, caveats=["Votes are simulated."]), copies))
    card = files["CARD.md"].decode()
    assert "composite" not in card
    assert "stand-in," not in card
    assert "Votes are simulated." in card
    assert "SHA256SUMS.sig" not in files


@pytest.mark.case("I14")
def test_a_release_says_what_it_was_compared_with(small: Small, released: Released) -> None:
    """Without hash lists card and manifest say not checked, and nothing says clean; with one, its digest, size and findings."""
    assert json.loads(_text(released, "release.json"))["references"] == []
    card = _text(released, "CARD.md")
    assert "Overlap with training or reference sets: not checked" in card
    assert "Whether a model saw these photos in training was not checked." in card
    row = {
        "name": "train", "sha256": "ab" * 32, "recipe": "draft128-2+pillow-rgb-1", "hashes": 1000, "unreadable": 3, "overlaps": 0, "unsure": 2,
    }  # fmt: skip
    inputs = gather(small.recipe, small.workspace)
    compared = type(inputs)(
        recipe=inputs.recipe, tables={**inputs.tables, "references": tables.conform("references", [row])}
    )
    copies, _ = copies_of(small.workspace.blobs, inputs.tables["pool"].column("photo_id").to_pylist())
    files = render(assemble(compared, small.terms, copies))
    assert json.loads(files["release.json"])["references"] == [row]
    told = files["CARD.md"].decode()
    assert "| train | `abababababab` | 1000 | 3 | draft128-2+pillow-rgb-1 | 0 | 2 |" in told
    assert "with the hash lists train, and with no other set" in told
    assert not re.search(r"\bclean\b", card + told)


def test_card_and_manifest_say_what_else_differs_between_the_groups(small: Small) -> None:
    """Each measure before and after weighting, and what is left of the drop: for people, and in release.json for programs."""
    inputs = gather(small.recipe, small.workspace)
    splits = inputs.tables["splits"].to_pylist()
    number = sum(row["group"] != "other" and row["fold"] == "report" for row in splits)
    found = {
        "n": number - 1,
        "without_measures": 1,
        "left_out": ["sharpness"],
        "differences": {"animal_area": {"before": -0.41, "after": np.float64(0.0200004)}},
        "drop": {"value": 0.3, "low": 0.1, "high": 0.5},
        "drop_weighted": {"value": 0.24, "low": 0.02, "high": 0.46},
        "remaining": 0.8,
    }
    copies, _ = copies_of(small.workspace.blobs, inputs.tables["pool"].column("photo_id").to_pylist())
    files = render(assemble(inputs, terms(covariates={"first": found}), copies))
    card = files["CARD.md"].decode()
    assert "animal area -0.41 (+0.02)." in card
    assert "drop of +30.0 points (+10.0 to +50.0) becomes +24.0 (+2.0 to +46.0)" in card
    stated = json.loads(files["release.json"])["covariates"]
    assert stated == {"first": found | {"differences": {"animal_area": {"before": -0.41, "after": 0.02}}}}
    assert parse(files["release.json"]).covariates["first"].remaining == 0.8


def test_every_photo_is_credited_once_and_harmlessly(released: Released) -> None:
    """Each photo stands in ATTRIBUTION.md once, under its licence, and upstream text neither runs nor formats."""
    text = _text(released, "ATTRIBUTION.md")
    assert len(re.findall(r"^- `[0-9a-f]{12}`", text, re.MULTILINE)) == 40
    assert "<script>" not in text
    assert "&lt;script&gt;alert\\(1\\)&lt;/script&gt;" in text
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in text


def test_changes_name_the_predecessor(small: Small) -> None:
    """CHANGES.md says what a release follows and each line is escaped."""
    inputs = gather(small.recipe, small.workspace)
    copies, _ = copies_of(small.workspace.blobs, inputs.tables["pool"].column("photo_id").to_pylist())
    changed = terms(version="2.0.0", predecessor="1.0.0", changes=["Removed <b>3</b> photos."])
    text = render(assemble(inputs, changed, copies))["CHANGES.md"].decode()
    assert "## 2.0.0 (2026-11-02)\n\nFollows 1.0.0.\n\n- Removed &lt;b&gt;3&lt;/b&gt; photos.\n" in text


@pytest.mark.case("H17")
def test_croissant_describes_the_files_and_columns_that_are_there(released: Released) -> None:
    """Digests, ids, references and columns of croissant.json are those of the release."""
    document = json.loads(_text(released, "croissant.json"))
    assert document["@type"] == "sc:Dataset"
    assert "http://mlcommons.org/croissant/1.1" in document["conformsTo"]
    for required in ("name", "description", "license", "url", "creator", "datePublished", "version"):
        assert document[required], required
    files = {item["@id"]: item for item in document["distribution"]}
    assert set(files) == set(SUMMED_FILES) - {"croissant.json", "release.json"}
    for name, item in files.items():
        assert item["sha256"] == digest_of_bytes((released.folder / name).read_bytes())
    sets = {item["@id"]: item for item in document["recordSet"]}
    assert set(sets) == set(PUBLISHED_TABLES)
    known = {field["@id"] for item in sets.values() for field in item["field"]}
    for name, item in sets.items():
        assert [field["name"] for field in item["field"]] == tables.schema_of(name).names
        for field in item["field"]:
            assert field["source"] == {"fileObject": {"@id": table_file(name)}, "extract": {"column": field["name"]}}
            assert field.get("references", {"field": {"@id": field["@id"]}})["field"]["@id"] in known
        assert {key["@id"] for key in item["key"]} <= known
