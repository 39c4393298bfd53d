"""What a person sees of a run in Prefect's pages: tables and links. Decides only their form; the workspace has the figures.

Prefect's artifacts are made by a client of their own, which gives up at once where the server is away, and would fail a run whose
work is done: a task around nothing but that call is tried again for minutes. Figures that cannot be computed fail at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from counteranimal.steps.curation import conservation
from counteranimal.steps.rounds import agreement
from flows.step_task import Reference

__all__ = ["show_agreement", "show_conservation", "show_discovery", "show_leaderboard", "show_links"]

_PAIR = [
    "split", "class_id", "status", "common", "counter", "n_common_report", "n_counter_report",
    "drop_report", "drop_report_low", "drop_report_high",
]  # fmt: skip
_AGREEMENT = ("alpha", "low", "high", "raw", "n_photos", "n_votes")


# Waits 2, 4, ... 256 s, as PREFECT_CLIENT_MAX_RETRIES in prefect.yaml has it for everything else that a run asks the server.
@task(
    name="artifact",
    retries=8,
    retry_delay_seconds=exponential_backoff(2),
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _try_for_minutes(create: Callable[..., object], **content: object) -> None:
    create(**content)


def show_conservation(reference: Reference) -> None:
    """Show where every candidate of the workspace is."""
    states = conservation(reference.open().workspace).states
    _try_for_minutes(
        create_table_artifact,
        key="conservation",
        table=[{"state": state, "candidates": number} for state, number in states.items()],
        description="Every candidate ever discovered is in exactly one state.",
    )


def show_agreement(reference: Reference) -> None:
    """Show how far people agree, pooled over the rounds so far; no figure of a single annotator."""
    figures = agreement(reference.open())
    asked = {"background": figures["background"], "usable": figures["usable"]}
    asked |= {f"background of {name}": own for name, own in figures["per_class"].items()}
    _try_for_minutes(
        create_table_artifact,
        key="agreement",
        table=[{"question": name, **{key: own[key] for key in _AGREEMENT}} for name, own in asked.items()],
        description=f"Krippendorff's alpha with 95 % intervals, on blind first votes. Gate: {figures['gate']}. {figures['why']}",
    )


def show_discovery(reference: Reference) -> None:
    """Show the pair of backgrounds that each split chose for each class."""
    pairs = reference.open().workspace.table("pairs")
    _try_for_minutes(
        create_table_artifact,
        key="discovery",
        table=pairs.select(_PAIR).to_pylist(),
        description="Chosen on the select fold; the report fold estimates.",
    )


def show_leaderboard(report: Mapping[str, Any]) -> None:
    """Show the report's table, which has an interval beside every figure."""
    _try_for_minutes(
        create_markdown_artifact,
        key="leaderboard",
        markdown=f"```\n{report['summary']}\n```",
        description="Accuracy on both groups and the drop, on the report fold.",
    )


def show_links(places: Mapping[str, str]) -> None:
    """Show where a run's pages and files are: addresses as they are, paths as links to files of the worker's machine."""
    lines = [f"- {name}: [{place}]({_address(place)})" for name, place in places.items()]
    _try_for_minutes(
        create_markdown_artifact,
        key="links",
        markdown="\n".join(lines),
        description="What this run left behind, and where.",
    )


def _address(place: str) -> str:
    return place if place.startswith("http") else Path(place).resolve().as_uri()
