"""How our own Label Studio is set up."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import stat
from urllib.parse import urlsplit

import httpx
import pytest

from counteranimal.annotate.checkup import check_up
from counteranimal.annotate.server import PINNED, StudioServer, running, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.errors import EnvironmentFailure
from counteranimal.serving.photos import PhotoServer, load_secret
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace
from tests.studio_fixtures import VENV

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]


@pytest.mark.case("F08")
def test_secrets_are_its_own_and_readable_by_us_alone(studio_server: StudioServer) -> None:
    """Password, token, secret key, database and log are mode 0600 in folders of mode 0700; the log holds none of them."""
    folder = studio_server.data_dir
    files = [*(folder / "secrets").iterdir(), folder / "server.log", *(folder / "data").glob("*.sqlite3")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    log = (folder / "server.log").read_text()
    assert not [path.name for path in (folder / "secrets").iterdir() if path.read_text().strip() in log]
    assert not list((folder / "data").glob(".env"))


def test_a_first_start_takes_over_the_empty_database(studio_server: StudioServer) -> None:
    """Nothing is migrated on a first start where the environment carries a migrated database, and no account came with it."""
    empty = VENV / "share" / "empty" / "label_studio.sqlite3"
    if not empty.exists():
        pytest.skip("no empty database in Label Studio's environment; `make label-studio` makes one")
    assert "Applying" not in (studio_server.data_dir / "server.log").read_text()
    with contextlib.closing(sqlite3.connect(empty)) as database:
        assert database.execute("select count(*) from htx_user").fetchone() == (0,)
        assert database.execute("select count(*) from authtoken_token").fetchone() == (0,)


@pytest.mark.case("F07")
def test_our_server_passes_every_check(studio_server: StudioServer, workspace: Workspace) -> None:
    """Sign-up, telemetry, local files, storages and model backends are off, the version is ours, and photos are served."""
    with PhotoServer(workspace, port=0, secret=load_secret(workspace.home)) as photos:
        checks = check_up(studio_server.url, studio_server.token, photo_server=photos.url.removeprefix("http://"))
    assert [check for check in checks if not check.good] == []
    assert [check.what for check in checks] == [
        "version", "sign-up closed", "telemetry off", "token", "local files not served", "no storage is synced",
        "no model backend", "photos for annotators",
    ]  # fmt: skip
    assert checks[0].detail == PINNED


def test_an_account_is_made_by_invitation_only(studio_server: StudioServer, studio: LabelStudioServer) -> None:
    """The form without the invitation's link is refused, with it an account is made that can log in."""
    account = {"email": "guest@example.org", "password": "long-enough-1"}
    link = urlsplit(studio.invitation())
    with httpx.Client(base_url=studio_server.url, trust_env=False) as visitor:
        for path, status in (("/user/signup/", 403), (f"{link.path}?{link.query}", 302)):
            secret = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', visitor.get(path).text)
            assert secret is not None
            form = account | {"csrfmiddlewaretoken": secret[1]}
            answer = visitor.post(path, data=form, headers={"Referer": studio_server.url})
            assert (answer.status_code, "CSRF" in answer.text) == (status, False)
        assert visitor.get("/api/current-user/whoami").json()["email"] == account["email"]


def test_starting_it_again_finds_it_running(studio_server: StudioServer) -> None:
    """A second `up` returns the same process instead of starting another."""
    again = up(Settings(label_studio_venv=VENV), studio_server.data_dir)
    assert again == studio_server == running(studio_server.data_dir)


def test_a_wrong_token_is_told_in_one_sentence(studio_server: StudioServer) -> None:
    """A refused token names the server and the setting."""
    client = LabelStudioServer(studio_server.url, "0" * 40)
    with pytest.raises(EnvironmentFailure, match=r"refuses the token.*COUNTERANIMAL_LABEL_STUDIO_TOKEN"):
        client.find_project("x")
    client.close()
