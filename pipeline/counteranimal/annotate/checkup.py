"""Whether a Label Studio that somebody runs is set up for rounds, and which setting is wrong where it is not.

Decides what is asked: only what a visitor or our own account can see, and nothing is made or changed. A check that cannot be made says
so and counts as wrong. Leaves our own local server's settings to `server`, which the same checks are run against.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from counteranimal.annotate.server import PINNED, is_older
from counteranimal.annotate.studio import LOOPBACK, LabelStudioServer
from counteranimal.errors import EnvironmentFailure, UpstreamError

# After `studio`, which says in one sentence what to install where the extra is missing.
import httpx  # isort: skip

__all__ = ["Check", "check_up"]


class Check(NamedTuple):
    """One thing that must hold; `detail` says what was found and, where it does not hold, which setting to change to what."""

    what: str
    good: bool
    detail: str


def check_up(url: str, token: str, *, photo_server: str) -> list[Check]:
    """Return every check of a server, in the order in which to mend them; after one that cannot be passed by, the list ends.

    Parameters
    ----------
    url, token : str
        The server and a token of one of its accounts.
    photo_server : str
        host:port from which annotators' browsers are to load photos.
    """
    base = url.rstrip("/")
    # A proxy from the environment must never see loopback traffic; see `studio`.
    with httpx.Client(base_url=base, timeout=30.0, trust_env=urlsplit(base).hostname not in LOOPBACK) as visitor:
        try:
            first = _version(visitor)
        except (httpx.HTTPError, ValueError) as error:
            return [
                Check(
                    "reachable", False, f"{base} is no Label Studio ({type(error).__name__}); correct label_studio_url"
                )
            ]
        found = [first, _sign_up(visitor), _telemetry(visitor)]
    return [*found, *_account(base, token), *_photos(base, photo_server)]


def _version(visitor: httpx.Client) -> Check:
    found = str(visitor.get("/api/version").raise_for_status().json()["release"])
    good = not is_older(found)
    return Check(
        "version", good, found if good else f"{found}; upgrade the server to {PINNED}, which closes known holes"
    )


def _sign_up(visitor: httpx.Client) -> Check:
    """Ask for an account with an empty form, which an open server refuses by its fields and a closed one altogether."""
    what, setting = "sign-up closed", "set LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK=true and restart the server"
    try:
        form = visitor.get("/user/signup/")
        secret = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        if secret is None:
            return Check(
                what, False, f"the form has no token (HTTP {form.status_code}), so this cannot be told; {setting}"
            )
        answer = visitor.post(
            "/user/signup/",
            data={"csrfmiddlewaretoken": secret[1]},
            headers={"Referer": str(form.url)},
        )
    except httpx.HTTPError as error:
        return Check(what, False, f"not told ({type(error).__name__}); {setting}")
    refused = answer.status_code == 403 and "CSRF" not in answer.text
    return Check(what, refused, "only by invitation" if refused else f"anybody can make an account; {setting}")


def _telemetry(visitor: httpx.Client) -> Check:
    try:
        told = re.search(r"collect_analytics\s*[=:]\s*(true|false)", visitor.get("/user/login/").text)
    except httpx.HTTPError:
        told = None
    off = told is not None and told[1] == "false"
    setting = "set LABEL_STUDIO_COLLECT_ANALYTICS=false and restart the server"
    state = "not told by the login page" if told is None else "annotators' browsers report to others"
    return Check("telemetry off", off, "off" if off else f"{state}; {setting}")


def _account(base: str, token: str) -> Iterator[Check]:
    """Check what only an account can see: the token, and what is attached to the projects of our rounds."""
    try:
        studio = LabelStudioServer(base, token)
    except (EnvironmentFailure, UpstreamError) as error:
        yield Check("token", False, str(error))
        return
    try:
        yield Check("token", True, f"of account {studio.account()}")
        serves = studio.serves_local_files()
        projects = studio.our_projects()
        attached = {name for project in projects for name in studio.attached(project)}
    except (EnvironmentFailure, UpstreamError) as error:
        yield Check("token", False, str(error))
        return
    finally:
        studio.close()
    setting = "set LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=false and restart the server"
    yield Check(
        "local files not served", not serves, f"files of its machine can be served; {setting}" if serves else "off"
    )
    told = f"none in {len(projects)} projects of our rounds"
    for kind, what in (("storage", "no storage is synced"), ("backend", "no model backend")):
        found = sorted(name for name in attached if name.startswith(kind))
        yield Check(what, not found, f"{', '.join(found)}; remove in the project's settings" if found else told)


def _photos(base: str, photo_server: str) -> Iterator[Check]:
    """Check the address that annotators' browsers will load photos from."""
    studio_host, photo_host = urlsplit(base).hostname, urlsplit(f"//{photo_server}").hostname
    what = "photos for annotators"
    if studio_host not in LOOPBACK and photo_host in LOOPBACK:
        yield Check(
            what,
            False,
            f"photo_server is {photo_server}, which is every annotator's own machine; set COUNTERANIMAL_PHOTO_SERVER to an "
            "address that they reach",
        )
        return
    if base.startswith("https:"):
        yield Check(
            what,
            False,
            "the page comes by https and photos by http, which browsers block; reach both over one tunnel or reverse proxy",
        )
        return
    try:
        answer = httpx.get(f"http://{photo_server}/photos/none", timeout=10.0, trust_env=photo_host not in LOOPBACK)
        good = answer.status_code == 403
    except httpx.HTTPError:
        good = False
    wrong = f"nothing of ours answers at {photo_server}; start `counteranimal serve-photos`, or correct photo_server"
    yield Check(what, good, f"served at {photo_server}" if good else wrong)
