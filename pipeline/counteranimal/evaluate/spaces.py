"""A label space of one's own: which answers a model may give, each made of one or several ImageNet-1K indices.

Decides the file's form and what is right in such a space. Names and templates of image-text models come from the lists that
everybody uses, so that classifiers and image-text models answer the same question. Judging is left to `protocols`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counteranimal.errors import UsageError

__all__ = ["LabelSpace", "read_label_space"]

_RANGE = re.compile(r"(\d{1,3})-(\d{1,3})")
_ADVICE = "write name and a table [labels] of label = [indices]"


@dataclass(frozen=True)
class LabelSpace:
    """Labels and the ImageNet indices that stand for each; a model answers with the label that holds its best index.

    Raises
    ------
    UsageError
        If there are fewer than two labels, one has no index, or an index is unknown or stands twice.
    """

    name: str
    labels: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        """Refuse what leaves an answer open."""
        if not self.name or len(self.labels) < 2:
            raise UsageError(f"label space {self.name!r} needs a name and at least two labels; {_ADVICE}")
        owner: dict[int, str] = {}
        for label, indices in self.labels.items():
            if not indices:
                raise UsageError(f"label {label!r} of {self.name} has no ImageNet index; name at least one")
            for index in indices:
                if not 0 <= index <= 999:
                    raise UsageError(
                        f"label {label!r} of {self.name} has the index {index}; ImageNet-1K's run from 0 to 999"
                    )
                if index in owner:
                    raise UsageError(
                        f"index {index} stands twice in {self.name}, for {owner[index]!r} and {label!r}; keep one of them"
                    )
                owner[index] = label

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """The indices of each label, in the order of the file."""
        return list(self.labels.values())

    def right(self, class_id: str, indices: Sequence[int]) -> tuple[int, ...]:
        """Return all indices of the labels that hold one of a class's; every such label is a right answer.

        Raises
        ------
        UsageError
            If no label does.
        """
        found = [index for group in self.groups if set(group) & set(indices) for index in group]
        if not found:
            raise UsageError(f"no label of {self.name} holds an ImageNet index of class {class_id}; add one that does")
        return tuple(sorted(found))

    def record(self) -> dict[str, Any]:
        """Return the space as plain JSON values."""
        return {"name": self.name, "labels": {label: list(indices) for label, indices in self.labels.items()}}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> LabelSpace:
        """Return the space of a record."""
        return cls(str(record["name"]), {label: tuple(indices) for label, indices in record["labels"].items()})


def read_label_space(path: Path) -> LabelSpace:
    """Read a label space: TOML with `name` and a table `labels` of lists of indices or of texts such as "151-268".

    Raises
    ------
    UsageError
        With the place, if the file cannot be read or is of another form.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"label space {path} cannot be read ({error.strerror}); give the path of a file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"label space {path} is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"label space {path} is no TOML ({error}); {_ADVICE}") from error
    labels = content.get("labels")
    if set(content) != {"name", "labels"} or not isinstance(content["name"], str) or not isinstance(labels, dict):
        raise UsageError(f"label space {path} holds {', '.join(sorted(content)) or 'nothing'}; {_ADVICE}")
    return LabelSpace(content["name"], {label: _indices(path, label, given) for label, given in labels.items()})


def _indices(path: Path, label: str, given: Any) -> tuple[int, ...]:
    found: list[int] = []
    for item in given if isinstance(given, list) else [given]:
        spelled = _RANGE.fullmatch(item) if isinstance(item, str) else None
        if spelled:
            first, last = int(spelled[1]), int(spelled[2])
            found += range(first, last + 1)
        if isinstance(item, bool) or not (isinstance(item, int) or (spelled and first <= last)):
            raise UsageError(f'label {label!r} in {path} has {item!r}; write indices such as 207 or "151-268"')
        if isinstance(item, int):
            found.append(item)
    return tuple(sorted(found))
