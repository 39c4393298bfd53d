"""Fixtures of the serving tests: the Debian packages where they are at hand, a small sample built once, a way to ask a server."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from counteranimal.serving.material import PACKAGES, find_material
from counteranimal.serving.sample import SampleIndex, build_sample
from counteranimal.serving.upstream import SampleUpstream
from counteranimal.settings import load_settings


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, **parameters: object) -> Answer:
    """Ask a loopback server, through no proxy."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url + query, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="session")
def material_root() -> Path:
    """The folder below which the demo's Debian packages lie; nothing is downloaded for a test."""
    settings = load_settings()
    found = find_material(settings.cache_folder, root=settings.material)
    if found is None:
        pytest.skip(
            f"the Debian packages {', '.join(PACKAGES)} are neither installed, cached nor in COUNTERANIMAL_MATERIAL"
        )
    return found.root


@pytest.fixture(scope="session")
def quick_sample(material_root: Path, tmp_path_factory: pytest.TempPathFactory) -> SampleIndex:
    """The small sample, built once for all tests that only read it."""
    return build_sample(tmp_path_factory.mktemp("sample"), material_root=material_root, quick=True)


@pytest.fixture(scope="module")
def upstream(quick_sample: SampleIndex) -> Iterator[SampleUpstream]:
    with SampleUpstream(quick_sample.folder) as running:
        yield running


@pytest.fixture
def observations(upstream: SampleUpstream) -> Callable[..., Any]:
    """Ask the running upstream for observations and return the answer's JSON."""

    def asked(**parameters: object) -> Any:
        return ask(f"{upstream.url}/v1/observations", **parameters).json()

    return asked
