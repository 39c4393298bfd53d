"""How our own Label Studio is set up."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
import stat
from urllib.parse import urlencode

import pytest

from counteranimal.annotate.server import PINNED, StudioServer, running, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.errors import EnvironmentFailure
from counteranimal.settings import Settings
from tests.studio_fixtures import VENV

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]


def ask(server: StudioServer, method: str, path: str, **form: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace")


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
def test_sign_up_and_local_files_are_off(studio_server: StudioServer, studio: LabelStudioServer) -> None:
    """Nobody can make an account without an invitation, and no file of the machine is served."""
    status, _ = ask(studio_server, "POST", "/user/signup/", email="a@example.org", password="long-enough-1")
    assert status == 403
    assert ask(studio_server, "GET", "/data/local-files/?d=etc/passwd")[0] in {401, 403, 404}
    assert studio.version() == PINNED


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
