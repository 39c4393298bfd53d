"""The verb `serve`: hands over to the module of flows/ that starts Prefect's server, pools, workers and deployments.

Decides how that module is found and that its exit code and signals are this process's own. Leaves everything else to it: only
flows/ may import Prefect.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Annotated

import typer

from counteranimal.cli.common import Home, RecipeFile, verb
from counteranimal.errors import MissingDependency
from counteranimal.resources import resource

__all__ = ["Check", "Port", "register"]

Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Loopback port of the server; 0: any free one.")]
Check = Annotated[
    bool, typer.Option("--check", help="Start everything, run a smoke flow, end everything; no schedule runs.")
]


def register(app: typer.Typer) -> None:
    """Add the verb of this module to the command line."""
    app.command(epilog="Example: counteranimal serve -r recipe.toml")(serve)


@verb
def serve(
    recipe_file: RecipeFile,
    home: Home = None,
    port: Port = 4200,
    check: Check = False,
) -> None:
    """Start a Prefect server, its pools, workers and deployments on this machine; Ctrl-C ends all of it."""
    if find_spec("prefect") is None:
        raise MissingDependency("Prefect is missing; run pip install 'counteranimal[flows]'")
    root = str(resource("flows").parent)
    options = ["--recipe", str(recipe_file.resolve()), "--port", str(port)]
    options += ["--home", str(home.resolve())] if home else []
    options += ["--check"] if check else []
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # In this process's place, so that Ctrl-C reaches one process only and its exit code is the verb's.
    os.execve(sys.executable, [sys.executable, "-m", "flows.serve", *options], {**os.environ, "PYTHONPATH": path})  # noqa: S606
