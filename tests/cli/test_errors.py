"""Bad input meets one sentence, the right exit code and no bug file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from counteranimal.cli import app
from counteranimal.cli.common import verb
from counteranimal.workspace import Workspace

RECIPE = """
name = "errors"
[licences]
allow = ["CC0-1.0"]
[[sources]]
name = "photos"
kind = "folder"
[sources.options]
folder = "nowhere"
table = "photos.csv"
[[classes]]
id = "cat"
name = "cat"
imagenet = [281]
"""


def _verbs() -> Iterator[tuple[str, ...]]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield ((command.name or command.callback.__name__.replace("_", "-")),)
    for group in app.registered_groups:
        assert isinstance(group.typer_instance, typer.Typer)
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            yield (str(group.name), command.name or command.callback.__name__.replace("_", "-"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, made the working folder, with a sound recipe in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERANIMAL_HOME", str(tmp_path / "home"))
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def _fails(place: Path, command: str, code: int) -> Result:
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert not list(place.glob("counteranimal-bug-*"))
    return result


@pytest.mark.parametrize("verb", list(_verbs()), ids=" ".join)
def test_every_verb_has_help_with_an_example(verb: tuple[str, ...]) -> None:
    """The help of every verb ends with a command to copy."""
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Example: counteranimal" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("[281]", "[1000]", "1000"),
        ('"CC0-1.0"', '"CC-BY-9.0"', "CC-BY-9.0"),
        ('"folder"', '"ftp"', "ftp"),
        ("[licences]", '[score]\nmodel = "no-such"\n[licences]', "score.model: unknown model 'no-such'"),
        (
            "[licences]",
            '[evaluate]\nmodels = ["stand-in", "lite9"]\n[licences]',
            "evaluate.models: unknown model 'lite9'",
        ),
        (
            "[licences]",
            '[[splits]]\nname = "one"\nselector = "clop"\n[licences]',
            "splits.one.selector: unknown model 'clop'",
        ),
        ('name = "errors"', 'name = "errors"\nbackgrounds = ["moon"]', "moon"),
        ('name = "errors"', 'name = "errors"\nbackgrounds = ["snow"]', "a comparison needs two"),
        ('name = "errors"', 'name = "errors"\nbackgrounds = ["other", "mixed"]', "only 0 of them can form a group"),
        ('name = "errors"', 'name = "errors', "line 2"),
        ('name = "errors"', 'name = "\udce9"', "UTF-8"),
    ],
)
def test_bad_recipe_is_named(place: Path, before: str, after: str, named: str) -> None:
    """A recipe with an unknown word or unreadable text is a usage error that names it."""
    text = RECIPE.replace(before, after, 1)
    (place / "recipe.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert named in _fails(place, "recipe check recipe.toml", 2).stderr


def test_recipe_check_names_every_problem_at_once(place: Path) -> None:
    """A wrong class, two unknown kinds of source and an unknown model are all said, whichever is found first."""
    more = """
[[sources]]
name = "other"
kind = "papyrus"
[[sources]]
name = "third"
kind = "clay"
[evaluate]
models = ["lite9"]
[[classes]]
id = "Bad Id"
name = "bad"
imagenet = [1]
"""
    (place / "recipe.toml").write_text(RECIPE + more, encoding="utf-8")
    told = _fails(place, "recipe check recipe.toml", 2).stderr
    for words in (
        "classes.1.id",
        "unknown kind 'papyrus'",
        "unknown kind 'clay'",
        "evaluate.models: unknown model 'lite9'",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [
        ("recipe check absent.toml", 2, "absent.toml"),
        ("crawl -r recipe.toml", 2, "nowhere"),
        ("dedupe -r recipe.toml", 2, "counteranimal crawl"),
        ("rebuild -r recipe.toml", 2, "counteranimal crawl"),
        ("score -r recipe.toml", 2, "counteranimal dedupe"),
        ("fingerprint absent", 2, "absent is no folder"),
        ("fingerprint . --out here/list.parquet", 2, "does not exist; make it first"),
        ("fingerprint . --out recipe.toml", 2, "recipe.toml exists"),
        ("propose -r recipe.toml", 2, "counteranimal dedupe"),
        ("annotate agreement -r recipe.toml", 2, "counteranimal crawl"),
        ("annotate close --round r1 -r recipe.toml", 2, "r1"),
        ("freeze v1 -r recipe.toml", 2, "MAJOR.MINOR.PATCH"),
        ("report -r recipe.toml --release 9.9.9", 2, "9.9.9"),
        ("report -r recipe.toml --out recipe.toml", 4, "recipe.toml"),
        ("verify absent", 2, "absent"),
        ("evaluate absent --photos absent --model stand-in", 2, "absent"),
        ("evaluate absent --photos absent --model stand-in --dtype int8", 2, "--dtype knows fp32, bf16, fp16"),
        ("evaluate absent --model nothing:x --weights-only", 2, "unknown model"),
        ("evaluate absent --model stand-in --weights-only --names openai", 2, "--weights-only asks no model"),
        ("evaluate absent --from absent --device cpu", 2, "--from asks no model"),
        ("evaluate absent --from absent --dtype bf16", 2, "--from asks no model"),
        ("status --home recipe.toml", 4, "--home"),
        ("label-studio down", 2, "label-studio up"),
    ],
)
def test_bad_command_says_the_next_step(place: Path, command: str, code: int, named: str) -> None:
    """A verb before its input, or pointed at the wrong place, ends with one sentence and its exit code."""
    assert named in _fails(place, command, code).stderr


@pytest.mark.parametrize(
    ("setting", "command", "named"),
    [
        ("COUNTERANIMAL_FREE_SPACE_FLOOR_MB=99999999", "dedupe -r recipe.toml", "disk full"),
        ("COUNTERANIMAL_LABEL_STUDIO_VENV=/nonexistent", "label-studio up", "make label-studio"),
    ],
)
def test_bad_environment_is_exit_four(
    place: Path, monkeypatch: pytest.MonkeyPatch, setting: str, command: str, named: str
) -> None:
    """A machine that is not ready is exit code 4 and a sentence that says what to mend."""
    monkeypatch.setenv(*setting.split("=", 1))
    assert named in _fails(place, command, 4).stderr.replace("\n", " ")


def test_second_run_at_once_is_refused(place: Path) -> None:
    """A workspace held by one run turns a second one away."""
    with Workspace(place / "home").lock():
        assert "in use" in _fails(place, "dedupe -r recipe.toml", 4).stderr


@pytest.mark.parametrize(("release", "code"), [("absent", 2), ("home", 3)])
def test_json_of_a_failure_is_one_object(place: Path, release: str, code: int) -> None:
    """Standard output of a failed verb with --json is exactly one JSON object."""
    (place / "home").mkdir()
    result = _fails(place, f"verify {release} --json", code)
    assert isinstance(json.loads(result.stdout), dict)


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, 4), (errno.EACCES, 4), (errno.EADDRINUSE, 4), (errno.ENOENT, 1), (errno.EINVAL, 1)],
)
def test_only_what_the_machine_refuses_is_its_failure(place: Path, number: int, code: int) -> None:
    """A full disk or a closed folder is exit code 4; a system error that nobody foresaw is a bug, in one line."""

    @verb
    def failing() -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    app = typer.Typer()
    app.command()(failing)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == code
    assert len(result.stderr.strip().splitlines()) == 1
    assert ("report it with" in result.stderr) == (code == 1)
    assert len(list(place.glob("counteranimal-bug-*"))) == (code == 1)


STOPPED_TWICE = """
import os, signal
from counteranimal.cli.common import verb

@verb
def work():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        print("servers ended")

work()
"""


def test_a_second_sigterm_does_not_cut_the_end_short() -> None:
    """What a verb started is ended although the stop is said twice, as `timeout` and a group kill do together."""
    done = subprocess.run([sys.executable, "-c", STOPPED_TWICE], capture_output=True, text=True, check=False)
    assert "servers ended" in done.stdout
    assert "stopped; everything done so far is kept" in done.stderr
