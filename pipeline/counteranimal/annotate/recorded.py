"""Votes from labellings that were made elsewhere and written to a table.

Decides how a wide CSV (one row a photo, one numbered set of columns a labeller) becomes votes. Words are mapped through the
vocabulary's published mapping; a word that has none is refused with its line, never guessed. Recorded answers are blind by
nature: nothing was shown.

::

    sha256,background_1,flags_1,background_2,flags_2
    2a12...,human,person_visible,human,none
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from counteranimal.annotate.answers import Answer
from counteranimal.annotate.codes import FlagMapping, flag_mapping
from counteranimal.annotate.rounds import Assignment, Round, check_round_id, known_rounds, record_event
from counteranimal.errors import UsageError
from counteranimal.ids import digest_of, is_photo_id
from counteranimal.recipe import Recipe, background_mapping
from counteranimal.workspace import Workspace

__all__ = ["RecordedRow", "pull_recorded", "read_recorded"]


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """One photo's answers, by labeller (`labelling-1`, ...); a labeller who left the field empty is missing."""

    line: int
    photo_id: str
    answers: Mapping[str, Answer]


def pull_recorded(  # noqa: PLR0913 - which file, how to read it, and what the round is called
    recipe: Recipe, workspace: Workspace, path: Path, *, mapping: str, round_id: str, now: datetime
) -> dict[str, Any]:
    """Append the recorded answers about kept photos as votes of a round of their own.

    Answers on record already are left alone; a changed file adds what is new and corrects what has changed.

    Parameters
    ----------
    mapping : str
        Which mapping of `backgrounds.toml` and `codes.toml` the file's words and flags follow, for example `shared`.

    Returns
    -------
    dict
        round, photos, votes, new, edited, known, not_kept (rows whose photo is not in the store or was not kept), workers.

    Raises
    ------
    UsageError
        With the line, for a word or flag without mapping; or if the round was planned for people.
    """
    rows = read_recorded(path, mapping=mapping)
    kept = workspace.kept_photos()
    ours = [row for row in rows if row.photo_id in kept]
    if not ours:
        raise UsageError(
            f"none of the {len(rows)} photos in {path} is kept in this workspace; crawl and dedupe them first"
        )
    _record_round(recipe, workspace, ours, _Origin(path, mapping, check_round_id(round_id), now))
    counts, fresh = _fresh_votes(workspace, ours, round_id, now)
    workspace.journal.append("votes", fresh)
    workers = sorted({worker for row in ours for worker in row.answers})
    votes = sum(len(row.answers) for row in ours)
    return {
        "round": round_id, "photos": len(ours), "votes": votes, **counts, "not_kept": len(rows) - len(ours), "workers": workers,
    }  # fmt: skip


def read_recorded(path: Path, *, mapping: str) -> list[RecordedRow]:
    """Return the rows of a recorded labelling in our words; one row a photo, a repeated photo keeps its first row.

    Raises
    ------
    UsageError
        If the file cannot be read, lacks its columns, or has a word without mapping; the sentence names the line.
    """
    words, flags = background_mapping(mapping), flag_mapping(mapping)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            numbers = _labellers(reader.fieldnames or (), path)
            rows = [_read_row(path, reader.line_num, row, numbers, (words, flags)) for row in reader]
    except OSError as error:
        raise UsageError(
            f"recorded votes {path} cannot be read ({error.strerror}); give the path of a CSV file"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"recorded votes {path} are no UTF-8 CSV ({error}); save the table as such") from error
    first: dict[str, RecordedRow] = {}
    for row in rows:
        first.setdefault(row.photo_id, row)
    return list(first.values())


@dataclass(frozen=True, slots=True)
class _Origin:
    path: Path
    mapping: str
    round_id: str
    now: datetime


def _labellers(columns: Sequence[str], path: Path) -> list[str]:
    numbers = [found.group(1) for name in columns if (found := re.fullmatch(r"background_(\w+)", name))]
    if "sha256" not in columns or not numbers:
        raise UsageError(f"{path} needs the columns sha256 and background_1, background_2, ...; add a header line")
    return numbers


def _read_row(
    path: Path,
    line: int,
    row: Mapping[str, str | None],
    numbers: Sequence[str],
    maps: tuple[dict[str, str], FlagMapping],
) -> RecordedRow:
    words, flags = maps
    if None in row or None in row.values():
        raise UsageError(f"{path}, line {line}: not as many fields as columns; the file is cut short or damaged here")
    photo_id = (row.get("sha256") or "").strip().lower()
    if not is_photo_id(photo_id):
        raise UsageError(f"{path}, line {line}: {photo_id!r} is no sha256; mend or remove the line")
    answers: dict[str, Answer] = {}
    for number in numbers:
        word = (row.get(f"background_{number}") or "").strip()
        if not word:
            continue
        if word not in words:
            raise UsageError(f"{path}, line {line}: unknown background {word!r}; the mapping knows {', '.join(words)}")
        said = [flag.strip() for flag in (row.get(f"flags_{number}") or "").split(";") if flag.strip()]
        strange = [flag for flag in said if flag not in flags.flags]
        if strange:
            raise UsageError(
                f"{path}, line {line}: unknown flag {strange[0]!r}; the mapping knows {', '.join(flags.flags)}"
            )
        named = sorted({flags.flags[flag] for flag in said} - {""})
        answers[f"labelling-{number}"] = Answer(words[word], not set(said) & set(flags.unusable), tuple(named))
    return RecordedRow(line, photo_id, answers)


def _record_round(recipe: Recipe, workspace: Workspace, rows: Sequence[RecordedRow], origin: _Origin) -> None:
    """Record what was asked: every photo with certainty, since the file and not we chose them. Same content: no new event."""
    digest = hashlib.sha256(origin.path.read_bytes()).hexdigest()
    workers = sorted({worker for row in rows for worker in row.answers})
    known = known_rounds(workspace.journal).get(origin.round_id)
    if known is not None and known.role != "recorded":
        raise UsageError(f"round {origin.round_id} was planned for people; record these votes under another name")
    earlier = known.photos if known else {}
    planned = Round(
        round_id=origin.round_id,
        key=digest_of(recipe.name, origin.round_id, digest, origin.mapping, *sorted(row.photo_id for row in rows))[:16],
        workers=tuple(workers),
        votes_per_photo=len(workers),
        page=None,
        photos={**earlier, **dict.fromkeys(sorted(row.photo_id for row in rows), 1.0)},
        assignments={
            worker: tuple(Assignment(row.photo_id) for row in rows if worker in row.answers) for worker in workers
        },
        role="recorded",
    )
    if known is None or known.key != planned.key:
        content = planned.content() | {"file": origin.path.name, "sha256": digest, "mapping": origin.mapping}
        record_event(workspace.journal, origin.round_id, "recorded", content, now=origin.now)


def _fresh_votes(
    workspace: Workspace, rows: Sequence[RecordedRow], round_id: str, now: datetime
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return how many answers are new, edited and known, and the rows to append."""
    earlier: dict[str, dict[str, Any]] = {}
    forms: dict[str, int] = {}
    for old in workspace.journal.rows("votes", round=round_id):
        name = old["annotation_id"].split("+")[0]
        earlier[name], forms[name] = old, forms.get(name, 0) + 1
    counts = {"new": 0, "edited": 0, "known": 0}
    fresh: list[dict[str, Any]] = []
    for row in rows:
        for worker, answer in row.answers.items():
            vote = _vote(round_id, row.photo_id, worker, answer) | {"answered_at": now}
            name = vote["annotation_id"]
            kind = _news(vote, earlier.get(name))
            counts[kind] += 1
            if kind != "known":
                fresh.append(vote | {"annotation_id": f"{name}+{forms[name]}" if name in forms else name})
    return counts, fresh


def _vote(round_id: str, photo_id: str, worker: str, answer: Answer) -> dict[str, Any]:
    return {
        "annotation_id": f"{round_id}:{worker}:{photo_id}",
        "round": round_id,
        "photo_id": photo_id,
        "worker": worker,
        "background": answer.background,
        "usable": answer.usable,
        "codes": list(answer.codes),
        "shown": False,
        "gold": False,
        "status": "counted",
    }


def _news(vote: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> str:
    if earlier is None:
        return "new"
    return "known" if all(vote[name] == earlier[name] for name in ("background", "usable", "codes")) else "edited"
