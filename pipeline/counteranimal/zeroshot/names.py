"""The two published lists of ImageNet-1K class names, by index.

Decides which text stands for a class. Never looks a class up by its name: WordNet's list has "crane" twice (134 and 517) and
OpenAI's has "missile" and "sunglasses" twice, so a name says too little.
"""

from __future__ import annotations

from typing import Literal

from counteranimal.errors import UsageError
from counteranimal.recipe import imagenet_classes

__all__ = ["NameList", "class_names"]

NameList = Literal["wordnet", "openai"]


def class_names(names: str) -> tuple[str, ...]:
    """Return the 1,000 names of a list, in index order.

    `wordnet` is the full list of synonyms, as the paper's prompts have it; `openai` the simplified names.

    Raises
    ------
    UsageError
        For a list that does not exist.
    """
    column = {"wordnet": 1, "openai": 2}.get(names)
    if column is None:
        raise UsageError(f"unknown name list {names!r}; use wordnet or openai")
    return tuple(row[column] for row in imagenet_classes())
