"""The labelling page of a round: Label Studio's XML, the instructions, and the data of one task.

Decides what an annotator sees. Background words come from the vocabulary, cleaning codes from `annotations/codes.toml`, the
layout from `annotations/interface.xml.j2`. A page is known by its digest and is never edited once a round uses it: a plan
carries the whole page, so that new code cannot change a round that is open. Machine group, margin and class correctness are not
among the inputs of this module, so they cannot reach the screen.

Upstream text (credit, names) stands only in task data, which Label Studio renders as text, never in the page itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from counteranimal.annotate.codes import codes
from counteranimal.ids import digest_of
from counteranimal.recipe import Recipe, RecipeClass, backgrounds
from counteranimal.resources import resource

__all__ = ["Interface", "as_plain_text", "interface", "task_data"]

LONGEST_TEXT = 300
RULES_CHOICE = "show the guidelines"
"""A tick that brings the guidelines over the photo and takes them away again; it is no answer."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A labelling page: its XML, its instructions (HTML of our own making) and the values each control offers."""

    xml: str
    instruction: str
    offered: dict[str, list[str]]

    @property
    def digest(self) -> str:
        """The page's version: sixteen hexadecimal characters over everything an annotator reads."""
        return digest_of(self.xml, self.instruction)[:16]

    def record(self) -> dict[str, Any]:
        """Return the page as JSON values, for the journal."""
        return {**asdict(self), "digest": self.digest}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Interface:
        """Return the page that `record` wrote."""
        return cls(record["xml"], record["instruction"], {key: list(value) for key, value in record["offered"].items()})


def interface(recipe: Recipe) -> Interface:
    """Return the page of a recipe; the same recipe and files give the same digest."""
    chosen = recipe.vocabulary()
    words = {name: item for name, item in backgrounds().items() if name in chosen or not item.decides}
    asked = {kind: {name: code for name, code in codes().items() if code.asked == kind} for kind in ("reject", "note")}
    guidelines = resource("annotations/guidelines.md").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    xml = template.from_string(resource("annotations/interface.xml.j2").read_text(encoding="utf-8")).render(
        backgrounds=[(name, item.key, f"{_title(name)} · {item.hint}") for name, item in words.items()],
        reasons=[(name, code.key, code.title) for name, code in asked["reject"].items()],
        notes=[(name, code.key, f"{code.title} · {code.hint}") for name, code in asked["note"].items()],
        rules_choice=RULES_CHOICE,
        rules=as_lines(guidelines),
    )
    offered = {
        "background": list(words),
        "usable": ["usable", "reject"],
        "reject_reason": list(asked["reject"]),
        "note": list(asked["note"]),
        "rules": [RULES_CHOICE],
    }
    return Interface(str(xml), as_html(guidelines), offered)


def _title(name: str) -> str:
    return name.replace("_", " ")


def task_data(photo_id: str, of: RecipeClass, *, image: str, credit: str, place: tuple[int, int]) -> dict[str, str]:
    """Return the data of one task.

    Parameters
    ----------
    image : str
        The address the annotator's browser loads the photo from.
    credit : str
        Upstream text, in any shape; it is cut to plain text.
    place : tuple of int
        Which photo this is, from 1, and how many the annotator has in all.
    """
    left = place[1] - place[0]
    return {
        "photo_id": photo_id,
        "image": image,
        "species": as_plain_text(of.name) or of.id,
        "look_for": as_plain_text(of.look_for) or " ",
        "credit": as_plain_text(credit) or "credit unknown",
        "place": f"Photo {place[0]} of {place[1]} · {left} left after this one",
    }


def as_plain_text(text: str) -> str:
    r"""Return upstream text as one line of printable characters, at most 300 of them; markup stays visible as typed.

    Control and formatting characters go (they can turn the reading direction round), white space becomes single spaces.

    Examples
    --------
    >>> as_plain_text("A\u202e<b>\n B ")
    'A<b> B'
    """
    spaced = " ".join(text.split())
    kept = "".join(sign for sign in spaced if unicodedata.category(sign)[0] != "C")
    return kept if len(kept) <= LONGEST_TEXT else kept[: LONGEST_TEXT - 1] + "…"


def as_lines(markdown: str) -> list[tuple[bool, str]]:
    r"""Return (whether it is a heading, text) of each paragraph, list item and table row, as the page shows them without markup.

    Examples
    --------
    >>> as_lines("# Rules\n\n- *one*\n\n| a | b |\n|---|---|\n| c | d |")
    [(True, 'Rules'), (False, '· one'), (False, 'a · b'), (False, 'c · d')]
    """
    found: list[tuple[bool, str]] = []
    cells: list[str] = []
    heading, bullet, in_row = False, "", False
    for token in MarkdownIt("commonmark", {"html": False}).enable("table").parse(markdown):
        if token.type in {"heading_open", "heading_close"}:
            heading = token.type == "heading_open"
        elif token.type == "list_item_open":
            bullet = "· "
        elif token.type == "tr_open":
            cells, in_row = [], True
        elif token.type == "tr_close":
            found.append((False, " · ".join(cells)))
            in_row = False
        elif token.type == "inline":
            parts = (" " if part.type.endswith("break") else part.content for part in token.children or ())
            text = " ".join("".join(parts).split())
            if in_row:
                cells.append(text)
            else:
                found.append((heading, bullet + text))
                bullet = ""
    return found


def as_html(markdown: str) -> str:
    """Return the guidelines as the HTML that Label Studio's instruction panel shows; raw HTML in them stays text."""
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown))
