"""A month of the shipped schedules on a fake clock, killed at random points and switched off at times, ends as one that nothing disturbed.

The schedules are those of `prefect.yaml`; what has none (rebuild, freeze) is started by a curator. The upstream lists more photos each
week. Votes come on Thursdays: in the small test from a file; in the month from rounds on a real Label Studio, where people answer from hour to
hour and the hourly sync brings what is new. A killed job is started again, as the shipped automation does; what was due while
the machine was off runs late, once it is on.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prefect.server.schemas.schedules import CronSchedule

from counteranimal.annotate.answers import to_result
from counteranimal.annotate.push import project_key
from counteranimal.annotate.raters import SimulatedRaters, answer_of
from counteranimal.annotate.rounds import known_rounds
from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.errors import IntegrityError
from counteranimal.freeze.sign import PRIVATE_KEY, keygen
from counteranimal.release.verify import verify
from counteranimal.steps.curation import conservation
from counteranimal.workspace import Workspace
from tests.fakes.growing_site import GrowingSite
from tests.store.conftest import REPOSITORY, Nursery
from tests.store.ledger import NO_FAULTS, Ledger, faults

START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
PEOPLE = ["simulated-anna", "simulated-ben"]
ANSWERS_AN_HOUR = 8
RECIPE = """
name = "month"
seed = "month"
backgrounds = ["grass", "water", "sky"]
[licences]
allow = ["CC-BY-4.0"]
[[sources]]
name = "site"
kind = "inaturalist"
loopback = ["{pair}"]
interval_seconds = 0.0
in_flight = 4
requests_per_minute = {budget}
requests_per_day = {budget}
[sources.options]
base_url = "http://{pair}"
only_licensed = false
[[classes]]
id = "dog"
name = "dog"
imagenet = [207]
taxa = [{{ name = "Canis", id = 7 }}]
[[classes]]
id = "cat"
name = "cat"
imagenet = [281]
taxa = [{{ name = "Felis", id = 9 }}]
[score]
model = "efficientnet-lite0"
[[splits]]
name = "first"
selector = "efficientnet-lite0"
unit = "pool"
n_min = 2
"""
# The farthest crash point that a kill is drawn for; a job that is done before is not killed.
FARTHEST = {
    "crawl-candidates": 600, "sync-annotations": 10, "record-votes": 19, "open-round": 30, "close-round": 8,
    "rebuild-splits": 60, "freeze-release": 600,
}  # fmt: skip


def schedules() -> dict[str, CronSchedule]:
    """Return the flows that `prefect.yaml` schedules, and when, as Prefect's server reads it."""
    shipped = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    return {
        item["entrypoint"].rpartition(":")[2].replace("_", "-"): CronSchedule(
            cron=when["cron"], timezone=when["timezone"]
        )
        for item in shipped
        for when in item.get("schedules", ())
    }


@dataclass(frozen=True)
class Span:
    """So many weeks; of each only the first hours are lived through, and what a curator does on Thursday."""

    weeks: int
    hours: int = 24 * 7
    rounds: bool = False

    @property
    def end(self) -> datetime:
        return START + timedelta(weeks=self.weeks)

    def plan(self) -> list[tuple[datetime, str]]:
        """Return what is due when, in order."""
        due = [
            (moment, job)
            for job, schedule in schedules().items()
            for date in asyncio.run(schedule.get_dates(10_000, START, self.end))
            if (moment := datetime.fromtimestamp(date.timestamp(), UTC)) < self.end
            and (moment - START) % timedelta(weeks=1) < timedelta(hours=self.hours)
        ]
        for week in range(self.weeks):
            thursday = START + timedelta(weeks=week, days=3, hours=10)
            if self.rounds:
                due += [(thursday, "open-round"), (thursday + timedelta(hours=9), "close-round")]
            else:
                due += [(thursday, "record-votes")]
            due += [(thursday + timedelta(hours=10), "rebuild-splits")]
        return sorted([*due, (self.end, "freeze-release")])


FORTNIGHT = Span(weeks=2, hours=4)


@dataclass
class Month:
    """One life of a workspace: its machine, when that is off, and where the dice for kills come from (none: nobody kills)."""

    home: Path
    site: GrowingSite
    nursery: Nursery
    off: Sequence[tuple[datetime, datetime]] = ()
    dice: random.Random | None = None
    people: LabelStudioServer | None = None
    server: dict[str, str] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    late: int = 0
    asked: list[tuple[datetime, str]] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.home / "blobs")

    def live(self, span: Span) -> None:
        """Do everything that is due, late where the machine was off."""
        self.site.forget()
        waiting = [(self._on(moment), moment, job) for moment, job in span.plan()]
        for moment, due, job in sorted(waiting):
            self.site.weeks = min((moment - START) // timedelta(weeks=1) + 1, span.weeks)
            self.late += moment != due
            self._do(job, moment)

    def _on(self, moment: datetime) -> datetime:
        return next((until for since, until in self.off if since <= moment < until), moment)

    def _do(self, job: str, moment: datetime) -> None:
        """Do a job; one that is killed is started again at once, and killed at most three times."""
        options = self._options(job, moment)
        if self.people and job == "sync-annotations":
            self._answer()
        for attempt in range(4):
            point = (
                self.dice.randint(1, FARTHEST[job])
                if self.dice and attempt < 3 and self._strikes(job, attempt)
                else None
            )
            seen = len(self.site.sent)
            asked = {"job": job, "at": moment.isoformat(), "options": options, "point": point, "studio": self.server}
            code = self.nursery.crawl(home=str(self.home), **asked)
            new = self.site.sent[seen:]
            self.asked += [(moment, path) for path in new]
            photos = [f"site:{path.split('/')[2]}" for path in new if path.startswith("/photos/")]
            self.ledger.look(photos, killed=code == -9)
            if code == 0:
                return
            assert code == -9, f"{job} at {moment} ended with {code}"
            self.kills[job] += 1
            self._weigh(f"{job} at {moment}, killed at {point}")
        pytest.fail("a job without a kill does not end")

    def tidy(self) -> None:
        """Run `gc`, which must find nothing but temporary files."""
        assert self.nursery.crawl(home=str(self.home), job="gc", at=START.isoformat()) == 0

    def _strikes(self, job: str, attempt: int) -> bool:
        """Return whether this run is to be killed: one sync in eight, every other job once and then every second time."""
        assert self.dice is not None
        chance = 0.125 if job == "sync-annotations" else 1.0 if attempt == 0 else 0.5
        return self.dice.random() < chance

    def _options(self, job: str, moment: datetime) -> dict[str, Any]:
        """Return what a curator gives a job."""
        week = f"week-{(moment - START) // timedelta(weeks=1) + 1}"
        if job == "record-votes":
            path = self.home.parent / "votes.csv"
            path.write_text(self.site.labelling())
            return {"path": str(path)}
        key = str(self.home.parent / "keys" / PRIVATE_KEY)
        given = {
            "open-round": {"round": week, "workers": PEOPLE},
            "close-round": {"round": week},
            "freeze-release": {"version": "1.0.0", "key": key},
        }
        return given.get(job, {})

    def _answer(self) -> None:
        """Let every person answer some of what waits for them, as in an hour."""
        assert self.people is not None
        raters = SimulatedRaters(self.site.truth().get, 0.1, "people")
        for planned in known_rounds(Workspace(self.home).journal).values():
            for worker in PEOPLE if not planned.closed else ():
                project = self.people.find_project(project_key(planned, worker))
                assert project is not None
                assert planned.page is not None
                waiting = sorted(
                    (str(task.data["photo_id"]), task.task_id)
                    for task in self.people.tasks(project)
                    if not task.annotations
                )
                for photo_id, task_id in waiting[:ANSWERS_AN_HOUR]:
                    answer, seconds = answer_of(
                        raters, worker=worker, photo_id=photo_id, offered=planned.page.offered["background"]
                    )
                    self.people.annotate(task_id, to_result(answer, planned.page.offered), seconds=seconds)

    def _weigh(self, when: str) -> None:
        """Count what a reader finds after a kill; a table may be of before, but never half."""
        try:
            conservation(Workspace(self.home)).require_balance()
        except IntegrityError as error:
            self.unbalanced.append(f"{when}: {error}")

    def tables(self) -> dict[str, str]:
        """Return the digest of every table, and of the release's list of digests."""
        files = {path.stem: path for path in (self.home / "tables").glob("*.parquet")}
        files["SHA256SUMS"] = self.home / "releases" / "1.0.0" / "SHA256SUMS"
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}

    def told(self) -> dict[str, pa.Table]:
        """Return every table and the release's, without moments and what another server would number otherwise."""
        files = {path.stem: path for path in (self.home / "tables").glob("*.parquet")}
        files |= {f"released {path.stem}": path for path in (self.home / "releases" / "1.0.0").glob("*.parquet")}
        found = {}
        for name, path in files.items():
            table = pq.read_table(path)
            moments = {field.name for field in table.schema if pa.types.is_timestamp(field.type)}
            kept = [
                column for column in table.column_names if column not in moments | {"annotation_id", "retrieved_at"}
            ]
            found[name] = table.select(kept).sort_by(
                [(column, "ascending") for column in kept if not pa.types.is_nested(table.schema.field(column).type)]
            )
        return found

    def over_budget(self) -> list[tuple[datetime, int, int]]:
        """Return when more was asked for within a day or a minute, as windows that slide, than the recipe allows."""
        found = []
        for end in sorted({moment for moment, _ in self.asked}):
            day = sum(end - timedelta(days=1) < moment <= end for moment, _ in self.asked)
            minute = sum(moment == end for moment, _ in self.asked)
            if max(day, minute) > budget(self.site.photos):
                found.append((end, day, minute))
        return found

    def wanted(self) -> set[str]:
        """Return the candidates that must be stored."""
        return {f"site:{n}" for n in self.site.numbers() if self.site.ends(n) == "stored"}


def budget(photos: int) -> int:
    """Return the requests that a day allows, and a minute: those of a crawl and of three repeated ones, and not many more."""
    return 4 * photos + 20


def repeated(home: Path) -> list[str]:
    """Return the photos that two parts of one stage hold."""
    counted: Counter[str] = Counter()
    for key in [
        path for name in ("fingerprints", "embeddings", "scores") for path in (home / "tables" / name).glob("*/")
    ]:
        for part in key.glob("part-*.parquet"):
            counted.update(f"{key.name}/{name}" for name in pq.read_table(part, columns=["photo_id"])[0].to_pylist())
    return [name for name, number in counted.items() if number > 1]


NewMonth = Callable[..., Month]


@contextmanager
def upstream(folder: Path, photos: int) -> Iterator[NewMonth]:
    """Serve so many new photos a week, and yield what makes months on that site: one machine and one key for all of them."""
    with GrowingSite(photos) as site:
        recipe = folder / "recipe.toml"
        recipe.write_text(RECIPE.format(pair=site.pair, budget=budget(photos)), encoding="utf-8")
        keygen(folder / "keys")
        with Nursery("tests.fakes.scheduled_machine", recipe=str(recipe)) as nursery:
            yield lambda name, **more: Month(folder / name, site, nursery, **more)


def assert_sound(month: Month) -> None:
    """Nothing lost, nothing twice, nothing asked for again, no budget overstepped, the books balanced, a release that verifies."""
    workspace = Workspace(month.home)
    left = faults(workspace, month.wanted())
    assert left | {"temporary": 0} == NO_FAULTS
    # What killed writers could not tidy goes by hand, and there is nothing else to remove.
    month.tidy()
    assert faults(workspace, month.wanted()) == NO_FAULTS
    assert (month.ledger.corrupt, month.ledger.asked_again, month.unbalanced) == (set(), set(), [])
    assert month.over_budget() == []
    assert repeated(month.home) == []
    votes = [(row["photo_id"], row["worker"]) for row in workspace.journal.rows("votes")]
    assert len(set(votes)) == len(votes) > 0
    counted = conservation(workspace)
    counted.require_balance()
    assert counted.states.get("pending", 0) == 0
    assert verify(month.home / "releases" / "1.0.0", public_key=None, photos=month.home / "photos").ok


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NewMonth, Month]]:
    """Two weeks that nothing disturbed, four hours of each, and a maker of more."""
    with upstream(tmp_path_factory.mktemp("fortnight"), 20) as new_month:
        calm = new_month("calm")
        calm.live(FORTNIGHT)
        assert_sound(calm)
        yield new_month, calm


@pytest.mark.case("G01")
@pytest.mark.case("G11")
def test_two_weeks_with_kills_end_as_undisturbed(fortnight: tuple[NewMonth, Month]) -> None:
    """Killed in every job and switched off for two syncs: tables and release are the same bytes."""
    new_month, calm = fortnight
    off = (START + timedelta(minutes=30), START + timedelta(hours=2, minutes=45))
    storm = new_month("storm", off=[off], dice=random.Random(5))
    storm.live(FORTNIGHT)
    assert_sound(storm)
    assert storm.late == 2
    assert storm.kills.keys() >= {"crawl-candidates", "record-votes", "rebuild-splits", "freeze-release"}
    assert storm.tables() == calm.tables()


@pytest.mark.case("G11")
def test_two_weeks_with_a_late_crawl_end_as_undisturbed_but_for_moments(fortnight: tuple[NewMonth, Month]) -> None:
    """The machine is off when a crawl and three syncs are due: they run once each when it is on, and only moments differ."""
    new_month, calm = fortnight
    monday = START + timedelta(weeks=1)
    late = new_month("late", off=[(monday + timedelta(hours=1), monday + timedelta(hours=9))])
    late.live(FORTNIGHT)
    assert_sound(late)
    assert late.late == 4
    assert sorted(path for _, path in late.asked) == sorted(path for _, path in calm.asked)
    assert late.told() == calm.told()
    assert late.tables()["SHA256SUMS"] != calm.tables()["SHA256SUMS"]


@pytest.mark.soak
@pytest.mark.studio
@pytest.mark.xdist_group("label-studio")
@pytest.mark.timeout(3000)
@pytest.mark.case("G01")
@pytest.mark.case("G11")
def test_a_month_with_kills_ends_as_undisturbed(
    tmp_path: Path, studio: LabelStudioServer, studio_server: StudioServer
) -> None:
    """Four weeks, hour by hour, with a round each week: the same tables byte for byte but for what a server dates, and the same release."""
    span = Span(weeks=4, rounds=True)
    server = {"label_studio_url": studio_server.url, "label_studio_token": studio_server.token}
    saturday = START + timedelta(weeks=1, days=5)
    off = [
        (saturday, saturday + timedelta(hours=30)),
        (saturday + timedelta(weeks=1), saturday + timedelta(weeks=1, hours=5)),
    ]
    with upstream(tmp_path, 40) as new_month:
        calm = new_month("calm", people=studio, server=server)
        storm = new_month("storm", people=studio, server=server, off=off, dice=random.Random(6))
        for month in (calm, storm):
            month.live(span)
            assert_sound(month)
            print(
                f"{month.home.name}: {len(span.plan())} jobs, {month.late} late, {len(month.asked)} requests, killed {dict(month.kills)}"
            )
    assert (storm.late, calm.late) == (35, 0)
    assert sum(storm.kills.values()) > 50
    differing = {name for name, digest in storm.tables().items() if digest != calm.tables()[name]}
    assert differing <= {"votes"}
    assert storm.told() == calm.told()
