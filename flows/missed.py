"""Runs whose time came while nothing was up: made up for once, however many they were.

Decides that a deployment with any such run gets one run, and in which order: they share a workspace, so they begin a minute apart,
the most frequent first, which are the shortest. `prefect deploy` deletes scheduled runs that have not begun, missed ones too, so
what was missed is asked before it and made up for after it. Where a server stays up and only its workers are away, the
deployments' concurrency limit does the same: the first of the late runs begins and the others are cancelled.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["make_up", "missed"]

_APART = timedelta(minutes=1)


def _ask(environment: Mapping[str, str], path: str, question: Mapping[str, Any]) -> Any:
    credentials = base64.b64encode(environment["PREFECT_API_AUTH_STRING"].encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - our own server on loopback
        environment["PREFECT_API_URL"] + path,
        json.dumps(question).encode(),
        {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, so no proxy
    with ask.open(request, timeout=60) as answer:
        return json.load(answer)


def missed(environment: Mapping[str, str]) -> list[str]:
    """Return the ids of deployments of which a schedule's run has not begun although its time has passed.

    The first is the one that missed a run last, which is the most frequent one.
    """
    late = {
        "state": {"name": {"any_": ["Scheduled", "Late"]}},
        "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
    }
    found = _ask(environment, "/flow_runs/filter", {"flow_runs": late, "sort": "EXPECTED_START_TIME_DESC"})
    return list(dict.fromkeys(run["deployment_id"] for run in found if run["auto_scheduled"]))


def make_up(environment: Mapping[str, str], deployments: Sequence[str]) -> None:
    """Start one run of each deployment, now and at every minute from now on."""
    for place, deployment in enumerate(deployments):
        at = (datetime.now(UTC) + place * _APART).isoformat()
        wanted = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": at}}}
        _ask(environment, f"/deployments/{deployment}/create_flow_run", wanted)
