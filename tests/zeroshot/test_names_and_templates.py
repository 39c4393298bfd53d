"""Name lists and templates."""

from __future__ import annotations

import pytest

from counteranimal.errors import UsageError
from counteranimal.zeroshot.names import class_names
from counteranimal.zeroshot.templates import fill, template_texts


def test_both_lists_have_a_thousand_names_and_known_repeats() -> None:
    """Which is why classes are told apart by index: crane is a bird and a machine."""
    wordnet, openai = class_names("wordnet"), class_names("openai")
    assert len(wordnet) == len(openai) == 1000
    assert wordnet[134] == wordnet[517] == "crane"
    assert wordnet[9] == "ostrich, Struthio camelus"
    assert openai[296] == "polar bear"


def test_the_paper_has_one_template_and_openai_eighty() -> None:
    """Each with one place for the name."""
    assert template_texts("paper") == ("A photo of {}.",)
    eighty = template_texts("openai80")
    assert len(eighty) == 80
    assert all(text.count("{}") == 1 for text in eighty)
    assert fill(eighty[0], "lion").count("lion") == 1


def test_unknown_words_are_refused() -> None:
    """With what is possible."""
    with pytest.raises(UsageError, match="wordnet or openai"):
        class_names("latin")
    with pytest.raises(UsageError, match="paper or openai80"):
        template_texts("none")
