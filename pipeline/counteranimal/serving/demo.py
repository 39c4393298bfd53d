"""The demo's recipe for one run: the published text, opened at the port that the sample upstream really has.

Decides which words of the recipe depend on the run. Leaves everything else to `data_manifest/recipes/demo.toml`.
"""

from __future__ import annotations

from pathlib import Path

from counteranimal.errors import RecipeError
from counteranimal.serving.upstream import DEFAULT_PORT

__all__ = ["demo_recipe"]

_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
_N_MIN, _N_MIN_QUICK = "\nn_min = 20\n", "\nn_min = 5\n"


def demo_recipe(template: Path, port: int, *, quick: bool = False) -> str:
    """Return the text of a demo recipe that crawls the upstream at `port`.

    At the default port the text is the template's, so that two runs freeze the same release.

    Parameters
    ----------
    template : Path
        `resource("data_manifest/recipes/demo.toml")`.
    port : int
        Where the sample upstream listens.
    quick : bool
        Ask for groups that the quick sample can fill.

    Raises
    ------
    RecipeError
        If the template cannot be read or names another address.
    """
    try:
        text = template.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(
            f"recipe {template} cannot be read ({error.strerror}); install counteranimal again"
        ) from error
    if _ADDRESS not in text or _N_MIN not in text:
        raise RecipeError(
            f"recipe {template} is not the demo's: it lacks {_ADDRESS} or n_min = 20; take the published one"
        )
    text = text.replace(_ADDRESS, f"127.0.0.1:{port}")
    return text.replace(_N_MIN, _N_MIN_QUICK) if quick else text
