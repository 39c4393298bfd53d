"""Lists of answers that are not whole, servers that fail and tokens that run out in mid-run, before a real server."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import jwt
import numpy as np
import pytest

from counteranimal.annotate import studio as studio_module
from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.plan import plan
from counteranimal.annotate.pull import pull
from counteranimal.annotate.push import project_key, push
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.errors import EnvironmentFailure, UpstreamError
from counteranimal.workspace import Workspace
from tests.fakes.faulty_line import Line, Reply, Request, faulty_line, plain
from tests.fakes.photo_pool import a_recipe, fill

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

RECIPE = a_recipe(votes_per_photo=2)
PHOTOS = 6
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
LIST = re.compile(r"^/api/tasks/\?.*\bpage=(\d+)")


def link(photo_id: str) -> str:
    return f"http://127.0.0.1:1/{photo_id}"


@pytest.fixture
def line(studio_server: StudioServer) -> Iterator[Line]:
    with faulty_line(studio_server.port) as found:
        yield found


@pytest.fixture
def through(line: Line, studio_server: StudioServer) -> Iterator[LabelStudioServer]:
    """A client that reaches the server over the line."""
    client = LabelStudioServer(line.url, studio_server.token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def held(studio_server: StudioServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of a round of six photos that anna and ben have answered on the server, and nobody has pulled."""
    workspace = Workspace(tmp_path_factory.mktemp("answered") / "home")
    fill(workspace, PHOTOS)
    plan(RECIPE, workspace, round_id="r1", workers=["anna", "ben"], now=NOW, rng=np.random.default_rng(7))
    studio = LabelStudioServer(studio_server.url, studio_server.token)
    push(RECIPE, workspace, studio, round_id="r1", link=link, now=NOW)
    planned = load_round(workspace.journal, "r1")
    assert planned.page is not None
    good = to_result(Answer("grass"), planned.page.offered)
    for row in workspace.journal.rows("tasks"):
        studio.annotate(row["task_id"], good, seconds=2.0)
    studio.close()
    return workspace.home


@pytest.fixture
def answered(held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of that workspace; the server lists its tasks in pages of four."""
    monkeypatch.setattr(studio_module, "PAGE", 4)
    return Workspace(shutil.copytree(held, tmp_path / "copy"))


def page_of(request: Request) -> int | None:
    """Return which page of a list of tasks is asked for, None where something else is."""
    found = LIST.match(request.path)
    return int(found[1]) if found else None


def on_page(number: int, fault: Callable[[Request], Reply | None]) -> Callable[[Request], Reply | None]:
    """Return a script with a fault on one page of every list of tasks."""
    return lambda request: fault(request) if page_of(request) == number else plain(request)


def only_three(content: dict[str, list[object]]) -> None:
    del content["tasks"][3:]


def of_another_project(content: dict[str, list[dict[str, int]]]) -> None:
    content["tasks"][0]["project"] += 1000


def without_author(content: dict[str, list[dict[str, list[dict[str, object]]]]]) -> None:
    del content["tasks"][1]["annotations"][0]["completed_by"]


@pytest.mark.case("F16")
@pytest.mark.parametrize(
    ("script", "place"),
    [
        (on_page(2, lambda _: Reply(404, b"{}")), r"gave 4 of 6 tasks of project \d+"),
        (on_page(1, lambda request: request.forward().changed(only_three)), r"gave 5 of 6 tasks of project \d+"),
        (on_page(2, lambda request: Reply(200, request.forward().body[:-40])), r"answered 200 .* tasks of project \d+"),
        (
            on_page(2, lambda request: Reply(200, request.forward().body, missing=9)),
            r"broke off .* tasks of project \d+",
        ),
        (
            on_page(2, lambda request: request.forward().changed(of_another_project)),
            r"task \d+ of project \d+ though it is of project 1\d+",
        ),
        (
            on_page(1, lambda request: request.forward().changed(without_author)),
            r"words task \d+ of project \d+ .*'completed_by'",
        ),
    ],
    ids=["a page short", "tasks short", "body cut", "line cut", "another project", "no author"],
)
def test_a_list_that_is_not_whole_is_refused_with_the_place(
    script: Callable[[Request], Reply | None],
    place: str,
    answered: Workspace,
    line: Line,
    through: LabelStudioServer,
) -> None:
    """Not one answer of it enters, and once the server is well everything does."""
    line.script = script
    with pytest.raises(UpstreamError, match=place):
        pull(answered, through, round_id="r1", now=NOW)
    assert answered.journal.rows("votes") == []
    line.script = plain
    told = pull(answered, through, round_id="r1", now=NOW)
    assert (told["new"], told["counted"], told["missing"]) == (2 * PHOTOS, 2 * PHOTOS, 0)


@pytest.mark.case("F16")
def test_an_older_server_is_refused(line: Line, through: LabelStudioServer) -> None:
    """Its answers may read otherwise; the sentence says what it is and what it should be."""
    through.require_version()

    def older(request: Request) -> Reply:
        reply = request.forward()
        return reply.changed(lambda said: said.update(release="1.22.0")) if "version" in request.path else reply

    line.script = older
    with pytest.raises(EnvironmentFailure, match=r"is 1\.22\.0.*upgrade it to 1\.23\.2"):
        through.require_version()


@pytest.mark.case("F16")
def test_an_answer_without_an_author_is_no_vote_unless_it_was_one_before(
    answered: Workspace, line: Line, through: LabelStudioServer
) -> None:
    """An account deleted on the server leaves answers behind that name nobody: what was on record stays a vote, the rest is set aside."""

    def nobody(content: dict[str, list[dict[str, list[dict[str, object]]]]]) -> None:
        for task in content.get("tasks", []):  # a page behind the last has none
            for annotation in task["annotations"]:
                annotation["completed_by"] = None

    line.script = on_page(2, lambda request: request.forward().changed(nobody))
    told = pull(answered, through, round_id="r1", now=NOW)
    assert (told["counted"], told["set_aside"]) == (8, 4)
    reasons = {row["reason"].partition(" answer ")[0] for row in answered.journal.rows("votes") if row["reason"]}
    assert reasons == {"E_ANSWER:"}
    line.script = lambda request: request.forward().changed(nobody) if page_of(request) else plain(request)
    told = pull(answered, through, round_id="r1", now=NOW)
    assert (told["known"], told["edited"], told["counted"], told["set_aside"]) == (12, 0, 8, 4)


@pytest.mark.case("F17")
def test_a_server_that_is_briefly_unwell_is_waited_for(
    answered: Workspace, line: Line, through: LabelStudioServer
) -> None:
    """A 502, a cut line and a 429 that says how long: each is asked again, and nothing is missing."""
    faults: list[Reply | None] = [Reply(502, b"bad gateway"), None, Reply(429, headers={"Retry-After": "1"})]

    def unwell(request: Request) -> Reply | None:
        return faults.pop() if faults and page_of(request) == len(faults) % 2 + 1 else plain(request)

    line.script = unwell
    assert pull(answered, through, round_id="r1", now=NOW)["counted"] == 2 * PHOTOS
    assert faults == []


@pytest.mark.case("F17")
@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(500, b"out of order"), r"answered 500 when asked to list the tasks .*out of order.*run again"),
        (Reply(401, b'{"detail": "Invalid token."}'), r"refuses the token .*COUNTERANIMAL_LABEL_STUDIO_TOKEN"),
    ],
    ids=["500", "token revoked"],
)
def test_a_pull_that_fails_halfway_has_whole_projects_and_the_next_one_the_rest(
    reply: Reply | None,
    sentence: str,
    answered: Workspace,
    line: Line,
    through: LabelStudioServer,
) -> None:
    """Exit code 4; the first person's answers are all on record, the second's not at all, and a pull later both."""
    first = through.find_project(project_key(load_round(answered.journal, "r1"), "anna"))

    def fails(request: Request) -> Reply | None:
        broken = page_of(request) == 2 and f"project={first}&" not in f"{request.path}&"
        return reply if broken else plain(request)

    line.script = fails
    with pytest.raises(EnvironmentFailure, match=sentence) as caught:
        pull(answered, through, round_id="r1", now=NOW)
    assert caught.value.exit_code == 4
    assert [row["worker"] for row in answered.journal.rows("votes")] == ["anna"] * PHOTOS
    line.script = plain
    told = pull(answered, through, round_id="r1", now=NOW)
    assert (told["known"], told["new"]) == (PHOTOS, PHOTOS)


@pytest.mark.case("F17")
@pytest.mark.parametrize(
    "case",
    [
        ("project", Reply(500, b"out of order"), True),
        ("project", None, True),
        ("tasks", Reply(500, b"out of order"), True),
        ("tasks", Reply(500, b"out of order"), False),
        ("tasks", None, True),
        ("tasks", Reply(401, b"{}"), False),
    ],
)
def test_a_push_that_fails_halfway_is_finished_by_the_next(
    case: tuple[str, Reply | None, bool],
    workspace: Workspace,
    line: Line,
    through: LabelStudioServer,
    studio_server: StudioServer,
) -> None:
    """Whether or not the server did what it failed to confirm: asked once, and afterwards each project and task exists once."""
    made, reply, took_effect = case
    fill(workspace, 3)
    plan(a_recipe(votes_per_photo=1), workspace, round_id="p", workers=["anna"], now=NOW, rng=np.random.default_rng(7))
    planned = load_round(workspace.journal, "p")
    wanted = "/api/projects/" if made == "project" else "/import"
    asked: list[str] = []

    def fails(request: Request) -> Reply | None:
        if request.method != "POST" or not request.path.partition("?")[0].endswith(wanted):
            return plain(request)
        asked.append(request.path)
        if took_effect:
            assert request.forward().status == 201
        return reply

    line.script = fails
    with pytest.raises(EnvironmentFailure):
        push(RECIPE, workspace, through, round_id="p", link=link, now=NOW)
    assert len(asked) == 1
    line.script = plain
    done = push(RECIPE, workspace, through, round_id="p", link=link, now=NOW)
    assert done["tasks"] + done["found"] == 3
    assert done["found"] == (3 if took_effect and made == "tasks" else 0)
    project = through.find_project(project_key(planned, "anna"))
    assert project is not None
    assert sorted(str(task.data["photo_id"]) for task in through.tasks(project)) == sorted(planned.photos)
    projects = httpx.get(
        f"{studio_server.url}/api/projects/?page_size=1000",
        headers={"Authorization": f"Token {studio_server.token}"},
        trust_env=False,
    ).json()["results"]
    assert sum(planned.key in item["description"] for item in projects) == 1


@pytest.mark.case("F17")
def test_a_personal_token_that_expires_in_mid_run_is_renewed(
    answered: Workspace, line: Line, studio_server: StudioServer, studio_personal_token: str
) -> None:
    """The server's own access tokens, signed anew by its own key to last three seconds, run out between two pages; revoked, a
    sentence ends the run.
    """
    key = (studio_server.data_dir / "secrets" / "secret_key").read_text().strip()
    renewed: list[str] = []

    def short(content: dict[str, str]) -> None:
        claims = json.loads(base64.urlsafe_b64decode(content["access"].split(".")[1] + "=="))
        content["access"] = jwt.encode({**claims, "exp": int(time.time()) + 3}, key, algorithm="HS256")
        renewed.append(content["access"])

    def hurries(request: Request) -> Reply:
        if request.path.startswith("/api/token/refresh"):
            return request.forward().changed(short)
        if page_of(request) == 1 and len(renewed) == 1:
            reply = request.forward()
            assert reply.status == 200
            time.sleep(4)
            assert request.forward().status == 401  # it has run out, and the server knows
            return reply
        return plain(request)

    line.script = hurries
    client = LabelStudioServer(line.url, studio_personal_token)
    assert pull(answered, client, round_id="r1", now=NOW)["counted"] == 2 * PHOTOS
    assert len(renewed) >= 2
    time.sleep(3)
    line.script = lambda request: Reply(401, b"{}") if "refresh" in request.path else plain(request)
    with pytest.raises(EnvironmentFailure, match="refuses the token"):
        pull(answered, client, round_id="r1", now=NOW)
    client.close()


@pytest.mark.case("F18")
def test_a_reconcile_holds_one_page_at_a_time_and_asks_for_no_export(
    answered: Workspace, line: Line, through: LabelStudioServer
) -> None:
    """The next page is asked for when the last one is used up; a whole pull reads lists of tasks, never an export or a photo."""
    project = answered.journal.rows("tasks")[0]["project_id"]
    tasks = through.tasks(project)
    for number, asked in ((1, 1), (3, 1), (1, 2)):  # tasks taken in all: 1, 4, 5
        for _ in range(number):
            next(tasks)
        assert max(int(found[1]) for _, path in line.seen if (found := LIST.match(path))) == asked
    line.seen.clear()
    pull(answered, through, round_id="r1", now=NOW)
    asked_for = {(method, re.sub(r"\d+", "N", path.partition("?")[0])) for method, path in line.seen}
    assert asked_for == {("GET", "/api/projects/"), ("GET", "/api/projects/N/"), ("GET", "/api/tasks/")}


@pytest.mark.soak
@pytest.mark.case("F18")
def test_ten_thousand_tasks_are_reconciled_within_500_megabytes() -> None:
    """The bench imports and pulls them on a server of its own and measures the process that pulls; its time is printed."""
    bench = Path(__file__).resolve().parents[2] / "bench" / "annotate_studio.py"
    done = subprocess.run([sys.executable, str(bench)], check=True, capture_output=True, text=True)
    print(done.stdout)
    figures = {item["name"]: item for item in map(json.loads, re.findall(r"^{.*}$", done.stdout, re.MULTILINE))}
    assert figures["reconcile_peak_mb_10000"]["ours"] <= 500
    assert "pull of 10,000 tasks:" in done.stdout
    assert "the server kept" not in done.stdout
