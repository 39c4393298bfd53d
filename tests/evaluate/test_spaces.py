"""A label space of one's own: what is right in it, how ranks count labels, and which files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counteranimal.errors import UsageError
from counteranimal.evaluate import Labels, LabelSpace, read_label_space
from counteranimal.evaluate.protocols import judge

SPACE = LabelSpace("s", {"crane": (134,), "machine": (517, 5), "dog": (151, 152, 153)})


def row(**values: float) -> np.ndarray:
    """Return one row of logits, -1 but at the named indices."""
    found = np.full((1, 1000), -1.0, np.float32)
    for name, value in values.items():
        found[0, int(name[1:])] = value
    return found


def test_a_label_of_several_indices_is_right_by_any_of_them() -> None:
    """The class knows one dog, the label three: each of the three is right, and other indices are no answers."""
    right, candidates, groups = Labels(protocols=("custom",), space=SPACE).question("custom", "beagle", [152])
    judged = judge(row(i151=2.0, i700=9.0, i134=1.0), right, candidates, groups)
    assert (judged.predicted[0], judged.correct[0], judged.rank[0]) == (151, True, 1)


def test_ranks_count_labels_not_indices() -> None:
    """Three wrong dogs ahead of the crane are one wrong label ahead: rank 2."""
    question = Labels(protocols=("custom",), space=SPACE).question("custom", "crane", [134])
    judged = judge(row(i151=3.0, i152=2.5, i153=2.0, i134=1.0), *question)
    assert (judged.rank[0], judged.correct[0]) == (2, False)
    assert judged.margin[0] == pytest.approx(-2.0)


def test_ties_between_labels_go_to_the_lower_index() -> None:
    """The machine's second index is 5: it wins over the crane's 134 at equal logits, and the row is flagged."""
    question = Labels(protocols=("custom",), space=SPACE).question("custom", "crane", [134])
    judged = judge(row(i5=1.0, i134=1.0), *question)
    assert (judged.predicted[0], judged.correct[0], judged.rank[0], judged.tied[0]) == (5, False, 2, True)


def test_a_class_without_a_label_is_refused() -> None:
    """Nothing could be right."""
    with pytest.raises(UsageError, match="no label of s holds an ImageNet index of class owl"):
        SPACE.right("owl", [24])


def test_a_space_is_its_record() -> None:
    """What a file of predictions states is the space again."""
    assert LabelSpace.of_record(SPACE.record()) == SPACE


def test_ranges_and_numbers_are_read(tmp_path: Path) -> None:
    """A list may hold indices and ranges, and one index needs no list."""
    path = tmp_path / "s.toml"
    path.write_text('name = "s"\n[labels]\ndog = ["151-153", 207]\ncat = 281\n')
    assert dict(read_label_space(path).labels) == {"dog": (151, 152, 153, 207), "cat": (281,)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is no TOML"),
        ('name = "s"', r"holds name; write name and a table \[labels\]"),
        ('name = "s"\n[labels]\na = [1]', "at least two labels"),
        ('name = ""\n[labels]\na = [1]\nb = [2]', "needs a name"),
        ('name = "s"\n[labels]\na = [1]\nb = []', "'b' of s has no ImageNet index"),
        ('name = "s"\n[labels]\na = [1]\nb = [1000]', "run from 0 to 999"),
        ('name = "s"\n[labels]\na = [1]\nb = [2, 1]', "index 1 stands twice in s, for 'a' and 'b'"),
        ('name = "s"\n[labels]\na = [1]\nb = ["dog"]', "has 'dog'; write indices"),
        ('name = "s"\n[labels]\na = [1]\nb = ["9-5"]', "has '9-5'; write indices"),
        ('name = "s"\n[labels]\na = [1]\nb = [true]', "has True; write indices"),
        ('name = "s"\nother = 1\n[labels]\na = [1]\nb = [2]', "holds labels, name, other"),
    ],
)
def test_files_that_leave_an_answer_open_are_refused(tmp_path: Path, text: str, said: str) -> None:
    """Each mistake is named with what to write instead."""
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_label_space(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_label_space(path)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"names": "x"}, "unknown name list"), ({"protocols": ("custom",)}, "needs a label space")],
)
def test_labels_are_checked_where_they_are_made(given: dict[str, object], said: str) -> None:
    """Python callers meet the same sentences as the command line."""
    with pytest.raises(UsageError, match=said):
        Labels(**given)
