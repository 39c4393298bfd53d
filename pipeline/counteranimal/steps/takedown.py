"""What a takedown asks for, which photos that are, and how it keeps holding: everything but the order of the steps.

Decides whom a request names (by photo, address, digest or author, as the journal and the releases know them), that every stored
copy goes with a photo, and what of later offers is withheld. Leaves removing to `workspace.forgetting`, finding copies to
`dedupe.copies`, and the sequence to `withdrawal`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from counteranimal.dedupe.copies import resembling
from counteranimal.errors import UsageError
from counteranimal.freeze.withdrawn import published_copies
from counteranimal.workspace import Journal, Workspace
from counteranimal.workspace.forgetting import forget

__all__ = ["Named", "Request", "enforce", "named", "removed", "rows_of", "withhold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What somebody asked to have removed, and why; each text as it was given."""

    photos: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    why: str = ""

    def terms(self) -> list[str]:
        """Return every term with its kind before it, as the journal keeps it."""
        kinds = {"photo": self.photos, "digest": self.digests, "url": self.urls, "author": self.authors}
        return [f"{kind}:{' '.join(text.split())}" for kind, texts in kinds.items() for text in texts]


@dataclass(slots=True)
class Named:
    """Photo and candidate ids by the term that names them."""

    photos: dict[str, str] = field(default_factory=dict)
    candidates: dict[str, str] = field(default_factory=dict)


def named(request: Request, workspace: Workspace) -> Named:
    """Return what a request names.

    Raises
    ------
    UsageError
        If nothing is asked for, or terms are unknown; the sentence names each, and nothing was removed.
    """
    terms = request.terms()
    if not terms:
        raise UsageError("nothing is named; give photo ids, --hash, --url or --author")
    found, known = Named(), set[str]()
    of_photo, copies = _stored(workspace.journal), _copies(workspace)
    published = set(copies.values())
    for term in terms:
        kind, _, text = term.partition(":")
        if kind in {"photo", "digest"}:
            photo_id = copies.get(text.lower(), text.lower())
            if photo_id in of_photo or photo_id in published:
                found.photos.setdefault(photo_id, term)
                known.add(term)
    offered = {term for term in terms if term.startswith(("url:", "author:"))}
    for candidate_id, term in _offered(workspace.journal, offered):
        found.candidates.setdefault(candidate_id, term)
        known.add(term)
    for photo_id, candidates in of_photo.items():
        term = next((found.candidates[name] for name in candidates if name in found.candidates), "")
        if term:
            found.photos.setdefault(photo_id, term)
    if unknown := [term for term in terms if term not in known]:
        raise UsageError(
            f"nothing was removed: no photo is known by {', '.join(term.removeprefix('photo:') for term in unknown)}; look it up with `counteranimal why`, and give the "
            "whole photo id, digest, address or author"
        )
    return found


def rows_of(
    named: Named, why: str, *, journal: Journal, marks: Mapping[str, str], now: datetime
) -> list[dict[str, Any]]:
    """Return the rows of `withdrawals` that are not on record yet: one a photo and candidate, and one an author or address."""
    recorded = {(row["photo_id"], row["candidate_id"], row["asked"]) for row in journal.rows("withdrawals")}
    held = {(photo_id, candidate_id) for photo_id, candidate_id, _ in recorded}
    of_photo = _stored(journal)
    wanted: list[tuple[str | None, str | None, str]] = []
    for photo_id, term in named.photos.items():
        wanted += [(photo_id, candidate_id, term) for candidate_id in of_photo.get(photo_id) or {None}]
    with_photo = {candidate_id for _, candidate_id, _ in wanted}
    wanted += [(None, name, term) for name, term in named.candidates.items() if name not in with_photo]
    new = [each for each in wanted if each[:2] not in held]
    standing = {*named.photos.values(), *named.candidates.values()}
    new += [
        (None, None, term)
        for term in sorted(standing)
        if term.startswith(("author:", "url:")) and (None, None, term) not in recorded
    ]
    told = {"why": why, "at": now}
    return [
        {"photo_id": photo, "candidate_id": candidate, "asked": term, "mark": marks.get(photo or ""), **told}
        for photo, candidate, term in sorted(new, key=str)
    ]


def withhold(journal: Journal, *, now: datetime) -> int:
    """Withdraw what was offered since by an author, or under an address, that was asked to be removed; returns how many."""
    standing = {row["asked"] for row in journal.rows("withdrawals") if not row["photo_id"] and not row["candidate_id"]}
    if not standing:
        return 0
    held = journal.withdrawn()
    rows = [
        {"candidate_id": candidate_id, "why": "offered again after a takedown", "asked": term, "at": now}
        for candidate_id, term in _offered(journal, standing)
        if candidate_id not in held
    ]
    return journal.append("withdrawals", rows)


def enforce(workspace: Workspace, *, now: datetime) -> int:
    """Remove what was withdrawn and is stored all the same: come back as a copy, with a backup, or in another home; returns how many.

    Costs nothing where nothing was withdrawn.
    """
    journal = workspace.journal
    rows = [row for row in journal.rows("withdrawals") if row["photo_id"]]
    if not rows:
        return 0
    marks = {row["photo_id"]: row["mark"] for row in rows if row["mark"]}
    gone = {row["photo_id"] for row in rows}
    copies = {photo: of for photo, of in resembling(workspace, marks).items() if photo not in gone} if marks else {}
    of_photo = _stored(journal) if copies else {}
    journal.append(
        "withdrawals",
        [
            {"photo_id": photo, "candidate_id": candidate, "why": f"a copy of {of}", "asked": f"photo:{of}", "at": now}
            for photo, of in sorted(copies.items())
            for candidate in sorted(of_photo.get(photo) or {None}, key=str)
        ],
    )
    back = {photo for photo in gone | copies.keys() if workspace.blobs.has(photo)}
    forget(workspace, back)
    return len(back)


def removed(workspace: Workspace, gone: Iterable[str], beside: Sequence[Path]) -> dict[str, int]:
    """Remove photos and their published copies from the workspace and from folders beside it; see `forget`."""
    wanted = set(gone)
    copies = {copy for photo_id, copy in published_copies(workspace.home / "releases") if photo_id in wanted}
    return forget(workspace, wanted, copies, beside)


def _stored(journal: Journal) -> dict[str, set[str | None]]:
    """Return photo id -> candidates that brought it, over all that was ever stored."""
    found: dict[str, set[str | None]] = defaultdict(set)
    for row in journal.rows("stored"):
        found[row["photo_id"]].add(row["candidate_id"])
    for row in journal.rows("fetches", status="stored"):
        found[row["photo_id"]].add(row["candidate_id"])
    return found


def _copies(workspace: Workspace) -> dict[str, str]:
    """Return sha256 of a published copy -> photo id, over all releases."""
    return {copy: photo_id for photo_id, copy in published_copies(workspace.home / "releases")}


def _offered(journal: Journal, terms: Iterable[str]) -> list[tuple[str, str]]:
    """Return the candidates that an `author:` or `url:` term names, each with that term.

    An author is named by the name as credited, in any case and spacing, or by the source's id of the observer.
    """
    asked: dict[str, dict[str, str]] = {"url": {}, "author": {}}
    for term in terms:
        kind, _, text = term.partition(":")
        asked[kind][text.casefold() if kind == "author" else text] = term
    if not any(asked.values()):
        return []
    columns = ("candidate_id", "author", "observer_id", "url", "page_url")
    found = []
    for row in journal.each(journal.last_rows("candidates", "candidate_id", columns)):
        name, author, observer, *urls = row
        people = [" ".join(text.split()).casefold() for text in (author, observer) if text]
        fitting = [asked["author"].get(each) for each in people] + [asked["url"].get(each) for each in urls]
        found += [(name, term) for term in fitting if term][:1]
    return found
