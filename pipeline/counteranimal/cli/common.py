"""What every verb shares: options, how an outcome is printed, how an error ends the process.

Decides the words on standard output and error and the exit code. Leaves all work to `steps`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from counteranimal.errors import CounteranimalError
from counteranimal.settings import Settings, load_settings
from counteranimal.steps.run import Run
from counteranimal.workspace import Workspace

__all__ = ["AsJson", "Home", "RecipeFile", "Verb", "as_text", "emit", "open_run", "open_workspace", "verb"]

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Workspace folder (default: COUNTERANIMAL_HOME or .counteranimal).", show_default=False
    ),
]
RecipeFile = Annotated[
    Path, typer.Option("--recipe", "-r", envvar="COUNTERANIMAL_RECIPE", help="The recipe (TOML) to work on.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines for people.")]

Parameters = ParamSpec("Parameters")
Verb = Callable[Parameters, None]

# What a machine refuses, or cannot be where a person pointed (a file for a folder). Any other OSError, above all a file that is
# not there, should have been told in its own words where it happened, so it is a bug.
_OF_THE_MACHINE = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.EADDRINUSE,
        errno.EADDRNOTAVAIL, errno.ENOMEM, errno.EIO, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH,
        errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENAMETOOLONG, errno.EFBIG, errno.ESTALE, errno.EBUSY, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EAGAIN,
    }
)  # fmt: skip
_STOPPED = 4
_WIDTH = 118
_BUG = 1


def verb(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn errors into one sentence and an exit code: 2 usage, 3 integrity or policy, 4 environment; Ctrl-C is 4.

    Anything else is a bug: its traceback goes to a file that the sentence names, and the exit code is 1.
    """

    @functools.wraps(function)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        as_json = bool(kwargs.get("as_json", False))
        _stop_on_sigterm()
        try:
            function(*args, **kwargs)
        except CounteranimalError as error:
            _report(type(error).__name__, str(error), as_json=as_json)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            _report(
                "Interrupted",
                "stopped; everything done so far is kept, run the same command again to go on",
                as_json=as_json,
            )
            raise typer.Exit(_STOPPED) from error
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from error
        except (typer.Exit, typer.Abort):
            raise
        except OSError as error:
            if error.errno not in _OF_THE_MACHINE:
                _report("Bug", _keep_traceback(error), as_json=as_json)
                raise typer.Exit(_BUG) from error
            where = f" at {error.filename}" if error.filename else ""
            cause = error.strerror or str(error)
            _report(
                "EnvironmentFailure",
                f"the system refuses{where} ({cause}); mend that or choose another place, and run the same command again",
                as_json=as_json,
            )
            raise typer.Exit(_STOPPED) from error
        except Exception as error:
            _report("Bug", _keep_traceback(error), as_json=as_json)
            raise typer.Exit(_BUG) from error

    return guarded


def _stop_on_sigterm() -> None:
    """Let SIGTERM end a verb as Ctrl-C does: what is done is kept, one sentence, exit code 4."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    # Whoever ends a group of processes may say it twice; the second time must not cut short what ends our servers.
    signal.signal(number, signal.SIG_IGN)
    signal.default_int_handler(number, frame)


def _report(kind: str, sentence: str, *, as_json: bool) -> None:
    one_line = " ".join(sentence.split())
    typer.echo(f"error: {one_line}", err=True)
    if as_json:
        # Standard output may be what failed; the sentence above has been said already.
        with contextlib.suppress(OSError):
            typer.echo(json.dumps({"error": kind, "message": one_line}, ensure_ascii=False))


def _keep_traceback(error: Exception) -> str:
    path = Path(f"counteranimal-bug-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt")
    sentence = f"this is a bug ({type(error).__name__}: {error})"
    try:
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return f"{sentence}; report it with the command you ran"
    return f"{sentence}; report it with {path}, what was done so far is kept"


def open_workspace(home: Path | None) -> tuple[Workspace, Settings]:
    """Return the workspace and the settings it was opened with."""
    settings = load_settings(home=home)
    return Workspace(settings.home, settings.journal_url, settings.store), settings


def open_run(recipe: Path, home: Path | None) -> Run:
    """Return everything a step needs, with the recipe checked and the moment taken."""
    return Run.of(recipe, load_settings(home=home))


def emit(content: Mapping[str, Any], *, as_json: bool, sentence: str | None = None) -> None:
    """Print an outcome: the sentence (or `key: value` lines) for people, the whole content as JSON for programs."""
    if as_json:
        typer.echo(json.dumps(content, ensure_ascii=False, sort_keys=True, default=str))
    elif sentence is not None:
        typer.echo(sentence)
    else:
        for key, value in content.items():
            typer.echo(f"{key}: {value}")


def as_text(*parts: Table | str) -> str:
    """Return tables and lines as a terminal of 118 columns shows them, without colour; lines keep their length."""
    console = Console(width=_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as caught:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in caught.get().rstrip().splitlines())
