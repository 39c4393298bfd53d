"""Whether the models that a recipe names exist, before any step works towards them.

Decides which of a recipe's words name models. Leaves which names there are to `models`.
"""

from __future__ import annotations

from counteranimal.errors import RecipeError, UsageError
from counteranimal.models.registry import require_known
from counteranimal.recipe import Recipe

__all__ = ["check_models"]


def check_models(recipe: Recipe) -> None:
    """Raise RecipeError, naming each place, if a model that the recipe names does not exist.

    A library is imported only where the recipe names one of its models.
    """
    named = [
        ("score.model", recipe.score.model),
        *((f"splits.{rule.name}.selector", rule.selector) for rule in recipe.splits),
        *(("evaluate.models", spec) for spec in recipe.evaluate.models),
    ]
    problems = []
    for place, spec in named:
        try:
            require_known(spec)
        except UsageError as error:
            problems.append(f"{place}: {error}")
    if problems:
        raise RecipeError("; ".join(problems))
