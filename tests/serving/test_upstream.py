"""The sample upstream speaks iNaturalist's API v1."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from counteranimal.errors import EnvironmentFailure
from counteranimal.serving.plan import EXACT, NEAR
from counteranimal.serving.sample import SampleIndex
from counteranimal.serving.upstream import SampleUpstream
from tests.serving.conftest import ask

pytestmark = pytest.mark.material

Observations = Callable[..., Any]


def everything(observations: Observations, **parameters: object) -> list[dict[str, Any]]:
    """Walk through all pages as a crawler does, behind the last id seen."""
    found: list[dict[str, Any]] = []
    while True:
        above = found[-1]["id"] if found else 0
        page = observations(order_by="id", order="asc", id_above=above, per_page=25, **parameters)["results"]
        if not page:
            return found
        found += page


def test_pages_behind_the_last_id_hold_every_observation_once(
    observations: Observations, quick_sample: SampleIndex
) -> None:
    """Ascending, complete and without repetition."""
    ids = [record["id"] for record in everything(observations)]
    assert ids == sorted({photo.observation_id for photo in quick_sample.photos})


def test_numbered_pages_and_totals(observations: Observations) -> None:
    """The total counts what matches, a page holds at most 200, and the default order is newest first."""
    answer = observations(per_page=10, page=2, order="asc")
    assert (answer["page"], answer["per_page"], len(answer["results"])) == (2, 10, 10)
    assert answer["total_results"] > 60
    assert observations(per_page=500)["per_page"] == 200
    newest = [record["id"] for record in observations()["results"]]
    assert len(newest) == 30
    assert newest == sorted(newest, reverse=True)


@pytest.mark.parametrize(
    ("name", "rest"), [("Struthio camelus", 1), ("common ostrich", 1), ("Struthio", 1), ("Camelidae", 0)]
)
def test_a_taxon_is_found_by_its_names_and_its_genus(observations: Observations, name: str, rest: int) -> None:
    """Scientific or common name, in any case, and a genus stands for its species."""
    found = everything(observations, taxon_name=name)
    assert bool(found) == bool(rest)
    assert {record["taxon"]["name"] for record in found} <= {"Struthio camelus"}


def test_a_taxon_id_includes_what_is_below_it(observations: Observations, upstream: SampleUpstream) -> None:
    """The number that a search for the name gives finds the same observations as the name."""
    (genus,) = [t for t in ask(f"{upstream.url}/v1/taxa", q="Panthera").json()["results"] if t["rank"] == "genus"]
    by_number = everything(observations, taxon_id=genus["id"])
    assert by_number == everything(observations, taxon_name="Panthera leo")
    assert by_number


def test_taxa_are_found_by_the_beginning_of_a_word(upstream: SampleUpstream) -> None:
    """As the autocompletion of a search box asks, with the shape of a real answer."""
    answer = ask(f"{upstream.url}/v1/taxa/autocomplete", q="lio", rank="species").json()
    assert [(item["name"], item["matched_term"]) for item in answer["results"]] == [("Panthera leo", "Lion")]
    assert ask(f"{upstream.url}/v1/taxa/{answer['results'][0]['id']}").json()["total_results"] == 1


def test_licence_filters_look_at_the_photos_own(observations: Observations) -> None:
    """A photo licence is not the record's; `none` and `any` are words of their own."""
    free = everything(observations, photo_license="cc0,cc-by")
    assert free
    assert all(any(photo["license_code"] == "cc0" for photo in record["photos"]) for record in free)
    unlicensed = everything(observations, photo_license="none")
    assert all(any(photo["license_code"] is None for photo in record["photos"]) for record in unlicensed)
    assert {record["license_code"] for record in everything(observations, license="none")} == {None}


def test_quality_grades_filter(observations: Observations) -> None:
    """All that the demo asks for is of research grade."""
    assert everything(observations, quality_grade="casual") == []
    assert everything(observations, quality_grade="research") == everything(observations)


@pytest.mark.parametrize("parameters", [{"id_above": "x"}, {"per_page": "-1"}, {"page": 600, "per_page": 200}])
def test_a_question_without_sense_is_refused(upstream: SampleUpstream, parameters: dict[str, object]) -> None:
    """Status 422 and a sentence, as the real API does."""
    answer = ask(f"{upstream.url}/v1/observations", **parameters)
    assert answer.status == 422
    assert answer.json()["error"]


@pytest.mark.shared
def test_answers_have_every_field_of_a_real_answer(observations: Observations, shared_data: Path) -> None:
    """Page, observation, user, taxon and photo carry all the keys of a recorded page, so that no reader misses one."""
    recorded = json.loads((shared_data / "upstream/inaturalist/v1/get_observations_page1.json").read_text())
    answer = observations(per_page=1)
    assert set(answer) == set(recorded)
    ours, real = answer["results"][0], recorded["results"][0]
    assert set(real) - set(ours) == set()
    for part in ("user", "taxon"):
        assert set(real[part]) - set(ours[part]) == set()
    assert set(real["photos"][0]) == set(ours["photos"][0])
    assert set(real["observation_photos"][0]) == set(ours["observation_photos"][0])


def test_fields_are_null_as_in_real_answers(observations: Observations) -> None:
    """Time, guess, licence and attribution are missing now and then, and places always."""
    records = everything(observations)
    photos = [photo for record in records for photo in record["photos"]]
    for name in ("time_observed_at", "species_guess", "license_code"):
        assert {record[name] is None for record in records} == {True, False}
    for name in ("license_code", "attribution"):
        assert {photo[name] is None for photo in photos} == {True, False}
    assert {record["geojson"] for record in records} == {None}


def test_composites_are_called_composites(observations: Observations) -> None:
    """They carry the tag, and their observer is the cut-out."""
    records = everything(observations, taxon_name="Struthio camelus")
    assert {record["tags"][0] for record in records} == {"composite"}
    assert {record["user"]["login"] for record in records} == {"cutout-ostrich"}
    assert len({record["user"]["id"] for record in records}) == 1


def test_photos_come_in_their_sizes(observations: Observations, upstream: SampleUpstream) -> None:
    """The address in an answer is the square one; the others differ in the file's name only."""
    photo = everything(observations, taxon_name="Bison bison")[0]["photos"][0]
    assert photo["url"].endswith("/square.jpg")
    for size, side in (("square", 75), ("medium", 500), ("original", 1024)):
        answer = ask(photo["url"].replace("square", size))
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(answer.body), formats=("JPEG",)).size) == side
    dimensions = photo["original_dimensions"]
    assert max(dimensions["width"], dimensions["height"]) == 1024


def test_planted_photos_arrive_as_planted(
    observations: Observations, upstream: SampleUpstream, quick_sample: SampleIndex
) -> None:
    """Duplicates answer, dead links are 404, unlicensed photos have no licence though their record has none to lend."""
    served = {photo["id"]: photo for record in everything(observations) for photo in record["photos"]}
    assert set(served) == {photo.photo_id for photo in quick_sample.photos}
    for photo in (photo for photo in quick_sample.photos if photo.planted):
        answer = ask(served[photo.photo_id]["url"].replace("square", "original"))
        assert answer.status == (404 if photo.planted == "dead_link" else 200)
        unlicensed = photo.planted in {"missing_licence", "all_rights_reserved"}
        assert (served[photo.photo_id]["license_code"] is None) == unlicensed
        if photo.planted in {EXACT, NEAR}:
            assert answer.body == quick_sample.file(photo.photo_id).read_bytes()


@pytest.mark.parametrize(
    "path", ["/truth.csv", "/photos/truth.csv", "/photos/", "/", "/photos/..%2ftruth.csv", "/index.json"]
)
def test_the_truth_is_never_served(upstream: SampleUpstream, path: str) -> None:
    """No address leads to the truth, the index or a listing."""
    assert ask(f"{upstream.url}{path}").status == 404


def test_robots_allow_the_photos(upstream: SampleUpstream) -> None:
    """A crawler that asks finds rules, and photos are open to it."""
    assert b"Allow: /photos/" in ask(f"{upstream.url}/robots.txt").body


def test_what_was_asked_is_remembered(upstream: SampleUpstream) -> None:
    """In order, so that a test can see a second run ask for nothing again."""
    ask(f"{upstream.url}/v1/taxa", q="ram")
    assert upstream.requests[-1] == "GET /v1/taxa?q=ram"


def test_a_taken_port_is_one_sentence(quick_sample: SampleIndex) -> None:
    """The port's number and what to do, exit code 4."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with (
            pytest.raises(EnvironmentFailure, match=f"port {port} .* is taken"),
            SampleUpstream(quick_sample.folder, port=port),
        ):
            pass


def test_the_port_is_free_after_the_block(quick_sample: SampleIndex) -> None:
    """The server ends with its block and can start again at once on the same port."""
    with SampleUpstream(quick_sample.folder) as first:
        port = first.port
        assert ask(f"{first.url}/robots.txt").status == 200
    with SampleUpstream(quick_sample.folder, port=port) as second:
        assert ask(f"{second.url}/robots.txt").status == 200
