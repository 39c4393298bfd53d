"""Settings come from the command line, then the environment, then one file, and say which key is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from counteranimal.errors import UsageError
from counteranimal.settings import load_settings


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without settings and an environment without ours."""
    import os

    for name in [name for name in os.environ if name.startswith("COUNTERANIMAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_arguments_win_over_environment_and_file(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the origins is what the documentation says."""
    (empty_machine / "counteranimal.toml").write_text("workers = 2\nbatch_size = 2\ndevice = 'cpu'\n", encoding="utf-8")
    monkeypatch.setenv("COUNTERANIMAL_WORKERS", "3")
    monkeypatch.setenv("COUNTERANIMAL_BATCH_SIZE", "3")
    settings = load_settings(workers=4, home=None)
    assert (settings.workers, settings.batch_size, settings.device) == (4, 3, "cpu")
    assert settings.home == Path(".counteranimal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = 0", "setting workers: .*COUNTERANIMAL_WORKERS"),
        ("wrokers = 2", "setting wrokers: Extra inputs"),
        ("workers = ", "counteranimal.toml cannot be read"),
    ],
)
def test_a_wrong_file_names_the_key(empty_machine: Path, text: str, message: str) -> None:
    """Wrong values, unknown keys and bad TOML are usage errors of one sentence."""
    (empty_machine / "counteranimal.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        load_settings()


def test_settings_cannot_be_changed_while_running() -> None:
    """A run has the settings it began with."""
    with pytest.raises(ValidationError):
        load_settings().workers = 9  # type: ignore[misc]


@pytest.mark.case("F08")
def test_the_label_studio_token_is_never_printed() -> None:
    """Settings can be logged."""
    settings = load_settings(label_studio_token="canary-token")
    assert "canary-token" not in repr(settings) + str(settings.model_dump())
    assert settings.label_studio_token.get_secret_value() == "canary-token"


def test_services_are_on_loopback_by_default() -> None:
    """Nothing is offered to the network unless somebody asks for it."""
    settings = load_settings()
    assert "127.0.0.1" in settings.label_studio_url
    assert settings.photo_server.startswith("127.0.0.1:")
