"""The photo server: signed links, the round's allow-list, and copies without metadata."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime

import pytest
from PIL import Image

from counteranimal.errors import EnvironmentFailure, IntegrityError
from counteranimal.serving.photos import PhotoServer, load_secret, signed_link
from counteranimal.workspace import Blob, Workspace
from tests.serving.conftest import ask

SECRET = b"s" * 32


def photo_with_position() -> bytes:
    """Write a JPEG that says where it was taken and by whom."""
    exif = Image.Exif()
    exif[0x013B] = "Ada Lovelace"
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    stream = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(stream, "JPEG", exif=exif, comment=b"secret place")
    return stream.getvalue()


@pytest.fixture
def stored(workspace: Workspace) -> tuple[str, str]:
    """Two stored photos: the first of the round, the second of another."""
    png = io.BytesIO()
    Image.new("RGB", (80, 80), (10, 90, 10)).save(png, "PNG")
    one, two = workspace.blobs.put_many([Blob(photo_with_position()), Blob(png.getvalue())])
    return one, two


@pytest.fixture
def server(workspace: Workspace, stored: tuple[str, str], now: datetime) -> Iterator[PhotoServer]:
    with PhotoServer(workspace, port=0, secret=SECRET, allowed=lambda: {stored[0]}, clock=now.timestamp) as running:
        yield running


def later(now: datetime, seconds: int = 60) -> int:
    return int(now.timestamp()) + seconds


def test_a_signed_link_shows_the_photo_without_its_metadata(
    server: PhotoServer, stored: tuple[str, str], now: datetime
) -> None:
    """Equal pixels; no position, no name, no comment."""
    answer = ask(signed_link(server.url, stored[0], secret=SECRET, expires=later(now)))
    assert answer.status == 200
    assert b"Ada" not in answer.body
    assert b"secret place" not in answer.body
    with Image.open(io.BytesIO(answer.body)) as shown, Image.open(io.BytesIO(photo_with_position())) as original:
        assert len(shown.getexif()) == 0
        assert shown.tobytes() == original.tobytes()


@pytest.mark.case("C07")
def test_a_photo_is_nothing_but_its_image_type(server: PhotoServer, stored: tuple[str, str], now: datetime) -> None:
    """Its real type with nosniff, readable from Label Studio's page, and nothing may run in it."""
    headers = ask(signed_link(server.url, stored[0], secret=SECRET, expires=later(now))).headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "sandbox" in headers["Content-Security-Policy"]


def test_a_png_is_served_as_png(workspace: Workspace, stored: tuple[str, str], now: datetime) -> None:
    """Without an allow-list a signed link shows any stored photo, under its own type."""
    with PhotoServer(workspace, port=0, secret=SECRET, clock=now.timestamp) as server:
        answer = ask(signed_link(server.url, stored[1], secret=SECRET, expires=later(now)))
    assert answer.headers["Content-Type"] == "image/png"


def test_an_expired_link_is_refused(server: PhotoServer, stored: tuple[str, str], now: datetime) -> None:
    """From its second on, without a word."""
    answer = ask(signed_link(server.url, stored[0], secret=SECRET, expires=int(now.timestamp())))
    assert (answer.status, answer.body) == (403, b"")


@pytest.mark.parametrize("change", ["photo", "expiry", "signature", "secret", "nothing signed", "odd expiry"])
def test_a_changed_link_is_refused(server: PhotoServer, stored: tuple[str, str], now: datetime, change: str) -> None:
    """Photo, expiry and signature belong together under the workspace's secret."""
    link = signed_link(server.url, stored[0], secret=b"x" * 32 if change == "secret" else SECRET, expires=later(now))
    changed = {
        "photo": link.replace(stored[0], stored[1]),
        "expiry": link.replace(f"expires={later(now)}", f"expires={later(now) + 1}"),
        "signature": link[:-1] + ("0" if link[-1] != "0" else "1"),
        "nothing signed": link.partition("?")[0],
        "odd expiry": link.replace(f"expires={later(now)}", "expires=%C2%B2"),
    }
    answer = ask(changed.get(change, link))
    assert (answer.status, answer.body) == (403, b"")


@pytest.mark.parametrize("photo", ["another round", "not stored", "no id"])
def test_what_is_not_shown_does_not_exist(
    server: PhotoServer, stored: tuple[str, str], now: datetime, photo: str
) -> None:
    """Photos of other rounds, unknown ones and names that are no photo id look the same, even under a good signature."""
    name = {"another round": stored[1], "not stored": "f" * 64, "no id": "journal.sqlite"}[photo]
    answer = ask(signed_link(server.url, name, secret=SECRET, expires=later(now)))
    assert (answer.status, answer.body) == (404, b"")


def test_what_is_shown_follows_the_rounds_while_the_server_runs(
    workspace: Workspace, stored: tuple[str, str], now: datetime
) -> None:
    """A round planned after the start shows its photos at once; those of a round closed since are gone when the list is read anew."""
    open_now: set[str] = set()
    with PhotoServer(workspace, port=0, secret=SECRET, allowed=lambda: open_now, clock=now.timestamp) as server:
        first, second = (signed_link(server.url, name, secret=SECRET, expires=later(now)) for name in stored)
        assert ask(first).status == 404
        open_now.add(stored[0])
        assert ask(first).status == 200
        open_now.clear()
        assert ask(second).status == 404  # not named, so the list is read
        assert ask(first).status == 404


def test_a_withdrawn_photo_is_no_longer_served(
    server: PhotoServer, workspace: Workspace, stored: tuple[str, str], now: datetime
) -> None:
    """Once its bytes are gone, a link that still holds shows nothing."""
    workspace.blobs.path(stored[0]).unlink()
    assert ask(signed_link(server.url, stored[0], secret=SECRET, expires=later(now))).status == 404


@pytest.mark.parametrize("path", ["/", "/photos/", "/photos", "/blobs/"])
def test_nothing_is_listed(server: PhotoServer, path: str) -> None:
    """There is no address but a photo's."""
    answer = ask(server.url + path)
    assert answer.status in {403, 404}
    assert len(answer.body) < 40


def test_the_server_is_on_loopback(server: PhotoServer) -> None:
    """Unless another host is asked for."""
    assert server.url.startswith("http://127.0.0.1:")


def test_the_secret_is_the_owners_alone(workspace: Workspace) -> None:
    """Made once, readable by nobody else, and the same from then on."""
    secret = load_secret(workspace.home)
    path = workspace.home / "photo-server.secret"
    assert len(secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    assert load_secret(workspace.home) == secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_secret_is_named(workspace: Workspace) -> None:
    """The sentence says which file to delete."""
    (workspace.home / "photo-server.secret").write_text("short")
    with pytest.raises(IntegrityError, match=r"photo-server\.secret is damaged; delete it"):
        load_secret(workspace.home)


def test_a_taken_port_is_one_sentence(server: PhotoServer, workspace: Workspace) -> None:
    """A second server on the port says which it is."""
    port = int(server.url.rpartition(":")[2])
    with (
        pytest.raises(EnvironmentFailure, match="the photo server cannot start"),
        PhotoServer(workspace, port=port, secret=SECRET),
    ):
        pass
