"""Prompt templates: the paper's single sentence, and the 80 that OpenAI published for ImageNet.

Decides the texts; how several are averaged is the classifier's. The 80 are read from open_clip, which carries them unchanged.
"""

from __future__ import annotations

from typing import Literal

from counteranimal.errors import UsageError

__all__ = ["PAPER", "TemplateSet", "fill", "template_texts"]

TemplateSet = Literal["paper", "openai80"]

PAPER = ("A photo of {}.",)


def template_texts(templates: str) -> tuple[str, ...]:
    """Return the templates of a set, each with one `{}` for the class name.

    Raises
    ------
    UsageError
        For a set that does not exist.
    """
    if templates == "paper":
        return PAPER
    if templates == "openai80":
        from counteranimal.models.compat import model_library

        return tuple(str(template("{}")) for template in model_library("open_clip").OPENAI_IMAGENET_TEMPLATES)
    raise UsageError(f"unknown templates {templates!r}; use paper or openai80")


def fill(template: str, name: str) -> str:
    """Return a template with a class name in it.

    Examples
    --------
    >>> fill("A photo of {}.", "ostrich, Struthio camelus")
    'A photo of ostrich, Struthio camelus.'
    """
    return template.replace("{}", name)
