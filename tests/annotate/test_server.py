"""Starting a labelling server: what is refused before anything runs."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from counteranimal.annotate import checkup
from counteranimal.annotate.checkup import check_up
from counteranimal.annotate.server import address, down, program_of, running, up
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.errors import EnvironmentFailure, MissingDependency
from counteranimal.settings import Settings
from tests.fakes.open_studio import TOKEN, open_studio

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(tmp_path: Path) -> Settings:
    """Settings whose server environment holds a program that ends at once."""
    program = tmp_path / "venv" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'no database here'\nexit 1\n")
    program.chmod(0o755)
    return Settings(home=tmp_path, label_studio_venv=tmp_path / "venv")


def test_a_missing_environment_names_the_command(tmp_path: Path) -> None:
    """Without the server's environment the sentence says how to make it."""
    with pytest.raises(MissingDependency, match="make label-studio"):
        up(Settings(label_studio_venv=tmp_path / "none"), tmp_path / "data")


def test_a_relative_environment_is_found_in_the_checkout_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run elsewhere, the default names the checkout's environment; one in the working folder comes first."""
    monkeypatch.chdir(tmp_path)
    assert program_of(Settings()).parts[-3:] == (
        *(CHECKOUT / ".venv-label-studio").resolve().parts[-1:],
        "bin",
        "label-studio",
    )
    (tmp_path / ".venv-label-studio").mkdir()
    assert program_of(Settings()) == tmp_path / ".venv-label-studio" / "bin" / "label-studio"


def test_a_taken_port_is_refused(installed: Settings, tmp_path: Path) -> None:
    """A port that something else holds is never silently replaced by another."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(EnvironmentFailure, match=f"port {port} is taken"):
            up(installed, tmp_path / "data", port=port)


def test_a_server_that_dies_at_once_is_told_with_its_log(installed: Settings, tmp_path: Path) -> None:
    """The end of the log stands in the sentence, and no record of a running server stays."""
    with pytest.raises(EnvironmentFailure, match=r"no database here.*server\.log"):
        up(installed, tmp_path / "data")
    assert running(tmp_path / "data") is None
    assert down(tmp_path / "data") is False


def test_a_pid_that_belongs_to_another_process_now_is_left_alone(tmp_path: Path) -> None:
    """A stale record with the pid of a living process does not make that process ours."""
    record = {"url": "http://127.0.0.1:1", "port": 1, "pid": os.getppid(), "started": "12345"}
    (tmp_path / "server.json").write_text(json.dumps(record))
    assert running(tmp_path) is None
    assert down(tmp_path) is False


def test_an_unreachable_server_names_address_and_command() -> None:
    """Nobody listening: one sentence with the URL and how to start a server."""
    client = LabelStudioServer("http://127.0.0.1:1", "0" * 40)
    with pytest.raises(EnvironmentFailure, match=r"http://127.0.0.1:1; start it with `counteranimal label-studio up`"):
        client.find_project("x")
    client.close()


def test_without_token_and_server_the_next_step_is_named(tmp_path: Path) -> None:
    """Neither a token in the settings nor a server of ours: the sentence says both ways out."""
    with pytest.raises(EnvironmentFailure, match=r"label-studio up.*COUNTERANIMAL_LABEL_STUDIO_TOKEN"):
        address(Settings(home=tmp_path))
    with pytest.raises(EnvironmentFailure, match="no token"):
        LabelStudioServer("http://127.0.0.1:1", "")


@pytest.mark.case("F07")
def test_a_server_left_at_its_defaults_is_told_which_settings_to_change() -> None:
    """An old server with open sign-up, telemetry, local files, a storage and a backend: each check names what to change."""
    with open_studio() as url:
        refused = check_up(url, "0" * 40, photo_server="127.0.0.1:9")
        found = {check.what: check for check in check_up(url, TOKEN, photo_server="127.0.0.1:9")}
    assert found.pop("token").good
    assert not any(check.good for check in [*found.values(), *refused])
    found |= {check.what: check for check in refused if check.what == "token"}
    for what, setting in (
        ("version", "upgrade the server to 1.23.2"),
        ("sign-up closed", "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK=true"),
        ("telemetry off", "LABEL_STUDIO_COLLECT_ANALYTICS=false"),
        ("local files not served", "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=false"),
        ("no storage is synced", "storage s3; remove"),
        ("no model backend", "backend; remove"),
        ("token", "COUNTERANIMAL_LABEL_STUDIO_TOKEN"),
        ("photos for annotators", "counteranimal serve-photos"),
    ):
        assert setting in found[what].detail


def test_an_address_that_is_no_server_ends_the_checks_with_one_line() -> None:
    """Nobody there: one check, which names the setting."""
    (only,) = check_up("http://127.0.0.1:1", "0" * 40, photo_server="127.0.0.1:9")
    assert (only.what, only.good) == ("reachable", False)
    assert "label_studio_url" in only.detail


@pytest.mark.parametrize(
    ("url", "photos", "said"),
    [
        ("http://labels.example.org", "127.0.0.1:8182", "COUNTERANIMAL_PHOTO_SERVER"),
        ("https://127.0.0.1", "127.0.0.1:8182", "browsers block"),
    ],
)
def test_photos_that_annotators_cannot_load_are_told(url: str, photos: str, said: str) -> None:
    """A photo server on the annotator's own machine, or without https beside a page with it, is named before anybody wonders."""
    (found,) = list(checkup._photos(url, photos))
    assert not found.good
    assert said in found.detail
