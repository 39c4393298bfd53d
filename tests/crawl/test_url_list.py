"""A curator's own list of addresses: every line is a candidate or a refusal that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.candidates import Offer
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.run import discover, fetch_pending
from counteranimal.crawl.snapshot import candidates_table, fetches_table, photos_table
from counteranimal.crawl.sources import Opening, open_source
from counteranimal.errors import Reason, RecipeError
from counteranimal.ids import photo_id_of
from counteranimal.recipe import SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace
from tests.crawl.conftest import AGENT, NOW, recipe_of, source_of
from tests.fakes.crawled_site import CrawledSite, answer, jpeg

COLUMNS: dict[str, Any] = {
    "label": "class", "imagenet_index": "index", "licence": "licence", "author": "author", "page_url": "page",
    "observer": "who", "observation": "seen",
}  # fmt: skip
ROWS = [
    {"url": "https://h/1.jpg", "class": "DOG", "index": "", "licence": "CC0-1.0", "author": "", "page": "", "who": "7", "seen": "o1"},
    {"url": "https://h/2.jpg", "class": "", "index": "207", "licence": "CC-BY-4.0", "author": "Ada, B.", "page": "https://h/2", "who": "", "seen": ""},
    {"url": "https://h/3.jpg", "class": "cat", "index": "", "licence": "", "author": "", "page": "", "who": "", "seen": ""},
]  # fmt: skip


def list_spec(name: str, **options: Any) -> SourceSpec:
    return SourceSpec(name="list", kind="url-list", options={"list": name, **options})


def offers(folder: Path, spec: SourceSpec) -> list[Offer]:
    clock = Clock(NOW)
    opening = Opening(spec, recipe_of(spec, base=folder), Ledger(Journal("sqlite://"), spec, clock), clock, AGENT)
    return [offer for page in open_source(opening).pages("") for offer in page.offers]


def _csv(path: Path) -> None:
    lines = [",".join(ROWS[0]), *(",".join(f'"{value}"' for value in row.values()) for row in ROWS)]
    path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")


def _jsonl(path: Path) -> None:
    rows = [{name: value or None for name, value in row.items()} for row in ROWS]
    rows[1]["index"] = 207  # type: ignore[assignment]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


def _parquet(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    index = pa.array([None, 207, None], pa.int64())
    pq.write_table(table.set_column(table.schema.get_field_index("index"), "index", index), path)


@pytest.mark.parametrize(("name", "write"), [("l.csv", _csv), ("l.jsonl", _jsonl), ("l.parquet", _parquet)])
def test_three_formats_say_the_same(tmp_path: Path, name: str, write: Callable[[Path], None]):
    """The same rows as CSV with a mark and CRLF, JSON Lines with nulls and numbers, and Parquet give the same offers."""
    write(tmp_path / name)
    found = offers(tmp_path, list_spec(name, **COLUMNS))
    assert [(o.url, o.class_id, o.licence_raw, o.author, o.page_url, o.observer_id, o.observation_id) for o in found] == [
        ("https://h/1.jpg", "dog", "CC0-1.0", None, None, "7", "o1"),
        ("https://h/2.jpg", "dog", "CC-BY-4.0", "Ada, B.", "https://h/2", None, None),
        ("https://h/3.jpg", None, None, None, None, None, None),
    ]  # fmt: skip
    assert len({o.native_id for o in found}) == 3


@pytest.mark.case("A28")
def test_bad_lines_are_refused_by_number_and_good_ones_done(tmp_path: Path):
    """Blank, NUL, non-UTF-8, overlong, unclosed, short, empty and repeated lines each have their number and reason."""
    lines = [
        b"url,class", b"https://h/1.jpg,dog", b"", b"https://h/\0.jpg,dog", b"https://h/\xff.jpg,dog",
        b"https://h/" + b"x" * 100_000 + b",dog", b'"https://h/6.jpg,dog', b"https://h/7.jpg", b",dog",
        b"https://h/1.jpg,dog", b"   ", b"https://h/11.jpg,dog",
    ]  # fmt: skip
    (tmp_path / "l.csv").write_bytes(b"\r\n".join(lines) + b"\r\n")
    found = offers(tmp_path, list_spec("l.csv", label="class"))
    assert [o.url for o in found if o.refused is None] == ["https://h/1.jpg", "https://h/11.jpg"]
    refused = [o for o in found if o.refused is not None]
    assert {o.refused for o in refused} == {Reason.LINE}
    assert [o.note for o in refused] == [
        "line 3: blank", "line 4: holds a NUL byte", "line 5: not UTF-8", "line 6: longer than 65536 bytes",
        "line 7: no CSV (unexpected end of data)", "line 8: has 1 fields, the header 2", "line 9: states no address",
        "line 10: repeats an address", "line 11: blank",
    ]  # fmt: skip
    assert len(found) == len(lines) - 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[" * 50_000, "no JSON"), ("[1]", "no JSON object"), ('{"url": ["x"]}', "column url holds no text or number"),
        ('{"url": "\\ud800"}', "column url holds a NUL byte or half a character"), ("{}", "states no address"),
        ('{"url": true}', "column url holds no text or number"),
    ],
)  # fmt: skip
def test_bad_json_lines_are_refused_by_number(tmp_path: Path, line: str, problem: str):
    """A line that is no JSON object of plain values is refused, and the next is read."""
    (tmp_path / "l.jsonl").write_text(f'{line}\n{{"url": "https://h/1.jpg"}}\n')
    found = offers(tmp_path, list_spec("l.jsonl"))
    assert [o.note for o in found] == [f"line 1: {problem}", None]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, "does not exist"), ("l.txt", b"url", "no known format"), ("l.csv", b"", "header, is missing"),
        ("l.csv", b"\xff\n", "header, is not UTF-8"), ("l.csv", b"address\n", "no column 'url'; it has address"),
        ("l.parquet", b"PAR1 and no more", "cannot be read"),
    ],
)  # fmt: skip
def test_list_that_cannot_be_read_is_a_recipe_error(tmp_path: Path, name: str, content: bytes | None, words: str):
    """A missing list, one of no known format and one without its columns are said in one sentence."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=words):
        offers(tmp_path, list_spec(name))


def test_stated_digest_and_size_are_held_against_what_comes(
    tmp_path: Path, site: CrawledSite, workspace: Workspace, settings: Settings, now: datetime
):
    """Bytes of another digest or size are refused with E_MISMATCH; a digest that is none refuses its line; no statement asks for nothing."""
    for number in range(4):
        site.pages[f"/{number}.jpg"] = answer(jpeg(number))
    right, wrong = photo_id_of(jpeg(0)).upper(), photo_id_of(jpeg(9))
    stated = [(right, len(jpeg(0))), (wrong, ""), ("", len(jpeg(2)) + 1), ("", ""), ("abc", ""), ("", "many")]
    lines = [
        "url,class,digest,length",
        *(f"{site.url}/{n}.jpg,dog,{digest},{size}" for n, (digest, size) in enumerate(stated)),
    ]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    columns = {"label": "class", "sha256": "digest", "size": "length", "fixed": {"licence": "CC0-1.0"}}
    recipe = recipe_of(source_of(site, kind="url-list", options={"list": "l.csv", **columns}), base=tmp_path)
    discover(recipe, workspace, settings=settings, now=now)
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 2
    assert set(workspace.blobs.ids()) == {photo_id_of(jpeg(0)), photo_id_of(jpeg(3))}
    rows = {row["candidate_id"]: row["url"] for row in candidates_table(workspace.journal).to_pylist()}
    refused = {rows[row["candidate_id"]][-5:]: row["reason"] for row in fetches_table(workspace.journal).to_pylist()}
    assert refused == {"0.jpg": None, "1.jpg": "E_MISMATCH", "2.jpg": "E_MISMATCH", "3.jpg": None}
    notes = {row["url"][-5:]: (row["reason"], row["note"]) for row in candidates_table(workspace.journal).to_pylist()}
    assert notes["4.jpg"] == ("E_LINE", "its digest is no SHA-256 digest")
    assert notes["5.jpg"] == ("E_LINE", "its length is no number of bytes")


@pytest.mark.case("A28")
def test_list_is_crawled_whole_and_known_lines_are_not_journalled_again(
    tmp_path: Path, site: CrawledSite, workspace: Workspace, settings: Settings, now: datetime
):
    """Good lines are stored, bad ones are rejected candidates; a second look at the edited list adds only what changed."""
    for number in range(3):
        site.pages[f"/{number}.jpg"] = answer(jpeg(number), Content_Type="image/jpeg")
    place = tmp_path / "l.csv"
    lines = ["url,class", *(f"{site.url}/{number}.jpg,dog" for number in range(3)), "", f"{site.url}/0.jpg,dog"]
    place.write_text("\n".join(lines) + "\n")
    options = {"list": "l.csv", "label": "class", "fixed": {"licence": "CC0-1.0"}}
    recipe = recipe_of(source_of(site, kind="url-list", options=options), base=tmp_path)
    counts = discover(recipe, workspace, settings=settings, now=now)
    assert (counts["offered"], counts["new"], counts["changed"]) == (5, 5, 0)
    assert fetch_pending(recipe, workspace, settings=settings, now=now)["stored"] == 3
    assert photos_table(recipe, workspace.journal).num_rows == 3
    reasons = [row["reason"] for row in candidates_table(workspace.journal).to_pylist()]
    assert reasons.count("E_LINE") == 2
    place.write_text("\n".join([*lines, f"{site.url}/3.jpg,dog"]).replace("/1.jpg,dog", "/1.jpg,cat"))
    counts = discover(recipe, workspace, settings=settings, now=now)
    assert (counts["offered"], counts["new"], counts["changed"]) == (6, 1, 1)
