"""A Label Studio that somebody else runs: reached by settings alone, with either kind of token, photos from another origin."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import sync_playwright

from counteranimal.annotate.answers import Answer, to_result
from counteranimal.annotate.rounds import load_round
from counteranimal.annotate.server import StudioServer
from counteranimal.annotate.studio import LabelStudioServer
from counteranimal.workspace import Workspace
from tests.fakes.command_line import enter, run, said
from tests.fakes.labelling_room import CHROMIUM, SWITCHES, log_in, store, take_place
from tests.fakes.other_machine import Machine, other_machine
from tests.studio_fixtures import VENV, personal_token

pytestmark = [pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "run-a-round.md"


def wrong(text: str) -> set[str]:
    """Return what doctor found wrong."""
    return set(re.findall(r"^WRONG  ([^:]+):", text, re.MULTILINE))


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Three photos with bytes, in the workspace of the working folder, and a recipe for one person a photo."""
    found = enter(tmp_path, monkeypatch, votes_per_photo=1)
    store(found, 3)
    return found


@contextlib.contextmanager
def serving_photos(address: str) -> Iterator[None]:
    """Run `serve-photos` as the how-to says, until it answers."""
    host, _, port = address.rpartition(":")
    command = [sys.executable, "-m", "counteranimal.cli", "serve-photos"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert f"http://{host}:{port}" in process.stdout.readline()
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_another_server_is_used_by_its_address_and_token(
    workspace: Workspace,
    studio_server: StudioServer,
    studio: LabelStudioServer,
    studio_personal_token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a personal token and photos from another address: doctor names what is wrong until nothing is; a round goes through."""
    photo_server = f"127.0.0.2:{free_port('127.0.0.2')}"
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_URL", studio_server.url)
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_TOKEN", "0" * 40)
    monkeypatch.setenv("COUNTERANIMAL_PHOTO_SERVER", photo_server)
    code, text = run("label-studio doctor")
    assert (code, wrong(text)) == (4, {"token", "photos for annotators"})
    assert f"nothing of ours answers at {photo_server}; start `counteranimal serve-photos`" in text
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_TOKEN", studio_personal_token)
    with serving_photos(photo_server):
        said("label-studio doctor")
        said("annotate plan --round r1 --worker anna")
        told = said("annotate push --round r1")
        assert f"  anna: {studio_server.url}/projects/" in told
        planned = load_round(workspace.journal, "r1")
        assert planned.page is not None
        for row in workspace.journal.rows("tasks"):
            studio.annotate(row["task_id"], to_result(Answer("grass"), planned.page.offered), seconds=1.0)
        (task, *_) = studio.tasks(workspace.journal.rows("tasks")[0]["project_id"])
        assert str(task.data["image"]).startswith(f"http://{photo_server}/photos/")
        photo = httpx.get(str(task.data["image"]), headers={"Origin": studio_server.url}, trust_env=False)
        assert (photo.status_code, photo.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert "3 new answers" in said("annotate pull --round r1")
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_TOKEN", studio_server.token)
    assert "3 known before" in said("annotate pull --round r1")


def started_elsewhere(machine: Machine, folder: Path, port: int, *, as_told: bool) -> subprocess.Popen[bytes]:
    """Start a server as the how-to tells whoever runs it, or with Label Studio's defaults, and wait until it is up."""
    (block,) = re.findall(r"```sh\n(export SECRET_KEY=.*?)```", HOW_TO.read_text(), re.DOTALL)
    settings = block.replace("10.0.0.7", machine.theirs).replace("8080", str(port))
    lines = [line for line in settings.splitlines() if as_told or re.search("SECRET_KEY|USERNAME|start", line)]
    script = "\n".join(line.replace("label-studio start", "exec label-studio start") for line in lines)
    for name in ("secret_key", "password"):
        if not (folder / name).exists():
            (folder / name).write_text(secrets.token_hex(16))
    environment = {
        "PATH": f"{VENV}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "data"),
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*machine.inside, "bash", "-euc", script], cwd=folder, env=environment, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://{machine.theirs}:{port}/health", trust_env=False, timeout=5).status_code == 200:
                return process
        time.sleep(0.5)
    process.kill()
    raise AssertionError((folder / "server.log").read_text()[-2000:])


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
        return
    process.kill()
    process.wait(15)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with other_machine() as found:
        yield found


@pytest.mark.soak
@pytest.mark.browser
def test_a_round_with_a_server_and_an_annotator_on_another_machine(
    workspace: Workspace, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server left at its defaults is told setting by setting; started as the how-to says it passes, and somebody whose browser
    runs on that machine is invited, sees photos that come from this one, answers by keyboard, and is pulled with either token.
    """
    empty = VENV / "share" / "empty" / "label_studio.sqlite3"
    if not empty.exists() or not CHROMIUM.exists():
        pytest.skip("needs Label Studio's environment (`make label-studio`) and Chromium (`make browser`)")
    folder = tmp_path / "elsewhere"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / empty.name).write_bytes(empty.read_bytes())
    port, photo_server = free_port("0.0.0.0"), f"{machine.ours}:{free_port(machine.ours)}"  # noqa: S104 - only a free number
    url = f"http://{machine.theirs}:{port}"
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_URL", url)
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_TOKEN", "0" * 40)
    server = started_elsewhere(machine, folder, port, as_told=False)
    try:
        code, text = run("label-studio doctor")
    finally:
        ended(server)
    assert code == 4
    assert wrong(text) >= {"sign-up closed", "telemetry off", "token", "photos for annotators"}
    assert "set COUNTERANIMAL_PHOTO_SERVER to an address that they reach" in text
    monkeypatch.setenv("COUNTERANIMAL_PHOTO_SERVER", photo_server)
    server = started_elsewhere(machine, folder, port, as_told=True)
    try:
        with serving_photos(photo_server):
            label_there(workspace, machine, folder, url, monkeypatch)
    finally:
        ended(server)


def label_there(
    workspace: Workspace, machine: Machine, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = ("curator@lab.example", (folder / "password").read_text())
    token = personal_token(url, *owner)
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_TOKEN", token)
    assert wrong(said("label-studio doctor")) == set()
    said("annotate plan --round r1 --worker anna")
    pages = json.loads(said("annotate push --round r1 --json"))["pages"]
    invitation = said("label-studio invite").strip()
    assert invitation.startswith(f"{url}/user/signup/?token=")
    hosts: set[str] = set()
    with (
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=str(machine.program(CHROMIUM, folder)), args=SWITCHES) as browser,
    ):
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))
        page.goto(invitation)
        page.fill("input[name=email]", "anna@lab.example")
        page.fill("input[name=password]", "long-enough-anna")
        page.click("button[type=submit]")
        page.wait_for_url(lambda address: "signup" not in address)
        page.context.clear_cookies()
        log_in(page, url, ("anna@lab.example", "long-enough-anna"))
        seat = take_place(page, pages["anna"])
        for number, item in enumerate(load_round(workspace.journal, "r1").assignments["anna"], start=1):
            seat.see(f"Photo {number} of 3")
            seat.press(*(["6", "q"] if not item.shown else ["q"]))
            seat.submit()
    assert hosts - {""} == {machine.theirs, machine.ours}
    assert "3 new answers, 0 corrected" in said("annotate pull --round r1")
    assert "counted 3" in said("annotate pull --round r1")
    monkeypatch.setenv("COUNTERANIMAL_LABEL_STUDIO_TOKEN", legacy_token(url, token))
    assert wrong(said("label-studio doctor")) == set()
    assert "3 known before" in said("annotate pull --round r1")


def legacy_token(url: str, personal: str) -> str:
    """Return our account's legacy token, once the organization allows such tokens, as its settings page does it."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        access = client.post("/api/token/refresh/", json={"refresh": personal}).json()["access"]
        client.headers["Authorization"] = f"Bearer {access}"
        allowed = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True, "api_token_ttl_days": 30}
        assert client.post("/api/jwt/settings", json=allowed).status_code == 200
        return str(client.get("/api/current-user/token").json()["token"])
