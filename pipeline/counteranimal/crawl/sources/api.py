"""One polite JSON question to a configured API, in blocking code.

Decides how an API is asked: only hosts the recipe lists, redirects off, no proxies or credentials from the environment, a
cap on the answer, the source's budget, Retry-After and at most three requests. Leaves what the answer means to the source.
An API that the recipe configures follows its published policy, not robots.txt.
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from counteranimal.crawl.address import Reach, asking, connect
from counteranimal.crawl.budget import BudgetSpent, Grant
from counteranimal.crawl.politeness import LONGEST_WAIT, backoff, retry_after
from counteranimal.crawl.sources.protocol import Opening
from counteranimal.errors import PolicyError, Rejected, UpstreamError

__all__ = ["Api"]

_TRIES = 3
_CONNECT, _READ, _DEADLINE = 10.0, 60.0, 300.0
_LARGEST = 16 * 1024 * 1024
_STEP = 1 << 16


class _Plain(HTTPConnection):
    """A connection whose socket is opened by `address.connect`, where the address itself is looked at."""

    def _new_conn(self) -> socket.socket:
        return _open(self)


class _Encrypted(HTTPSConnection):
    """The same under TLS."""

    def _new_conn(self) -> socket.socket:
        return _open(self)


def _open(connection: HTTPConnection) -> socket.socket:
    try:
        return connect(connection.host, connection.port, timeout=_CONNECT)
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted


class _Guarded(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _EncryptedPool}


class _Again(Exception):  # noqa: N818 - one try out of three, not an error of the run
    """The try failed and may be repeated, after `seconds` when the upstream said so."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class Api:
    """A client for one source's API; `sleep` and `rng` are given by tests."""

    def __init__(
        self, opening: Opening, *, sleep: Callable[[float], None] = time.sleep, rng: random.Random | None = None
    ) -> None:
        self._opening = opening
        self._reach = Reach.of(opening.spec)
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._session = requests.Session()
        # Set off once for all: no proxies, no .netrc, no certificate bundles from the environment.
        self._session.trust_env = False
        self._session.headers.update({"User-Agent": opening.agent, "Accept": "application/json"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Guarded(max_retries=0))

    def ask(self, url: str, parameters: Mapping[str, str], *, place: str) -> dict[str, Any]:
        """Return the JSON object that the API answers.

        Parameters
        ----------
        url, parameters
            The question.
        place : str
            Source and cursor, for the error's sentence.

        Raises
        ------
        UpstreamError
            If there is no JSON object after three tries, or the upstream asks for a longer wait than a run makes.
        PolicyError
            If the recipe does not list the host.
        """
        try:
            self._reach.check(url)
        except Rejected as error:
            raise PolicyError(f"{place}: {error.detail}; add the host to the source's hosts") from error
        for attempt in range(1, _TRIES + 1):
            try:
                return self._once(url, parameters, place)
            except _Again as error:
                if attempt == _TRIES:
                    raise UpstreamError(f"{place}: {error}; the cursor stays, run again later") from error
                seconds = error.seconds if error.seconds is not None else backoff(attempt, self._rng)
                if seconds > LONGEST_WAIT:
                    raise UpstreamError(
                        f"{place}: {url} asks to wait {seconds:.0f} seconds; the cursor stays, run again after that"
                    ) from error
                self._sleep(seconds)
        raise AssertionError

    def _once(self, url: str, parameters: Mapping[str, str], place: str) -> dict[str, Any]:
        checked = self._reach.check(url)
        grant = self._permit(checked.raw_host or "")
        body = bytearray()
        try:
            with (
                asking(checked, self._reach),
                self._session.get(
                    url, params=dict(parameters), timeout=(_CONNECT, _READ), allow_redirects=False, stream=True
                ) as answer,
            ):
                self._refuse_status(answer, place)
                self._read(answer, body, grant)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _Again(f"{checked.raw_host} does not answer ({type(error).__name__})") from error
        finally:
            self._opening.ledger.give_back(grant, len(body))
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError(
                f"{place}: the answer is not JSON (it begins {body[:40]!r}); the cursor stays, run again later"
            ) from error
        if not isinstance(content, dict):
            raise UpstreamError(f"{place}: the answer is JSON but no object; the cursor stays, run again later")
        return content

    def _refuse_status(self, answer: requests.Response, place: str) -> None:
        status = answer.status_code
        if status == 429 or status >= 500:
            seconds = retry_after(answer.headers.get("Retry-After"), self._opening.clock.now())
            raise _Again(f"the upstream answers {status}", seconds)
        if status != 200:
            raise UpstreamError(f"{place}: the upstream answers {status}; check the source's options, the cursor stays")

    def _permit(self, host: str) -> Grant:
        grant = self._opening.ledger.take(host, "api", _LARGEST)
        while not isinstance(grant, Grant):
            self._sleep(grant)
            grant = self._opening.ledger.take(host, "api", _LARGEST)
        return grant

    def _read(self, answer: requests.Response, body: bytearray, grant: Grant) -> None:
        started = time.monotonic()
        for piece in answer.iter_content(_STEP):
            body += piece
            if len(body) > grant.most_bytes - _STEP:
                if grant.most_bytes < _LARGEST:
                    raise BudgetSpent.within(self._opening.spec.name)
                raise _Again(f"the answer is larger than {_LARGEST} bytes")
            if time.monotonic() - started > _DEADLINE:
                raise _Again(f"the answer takes over {_DEADLINE:.0f} seconds")
