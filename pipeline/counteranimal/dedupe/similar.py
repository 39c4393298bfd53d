"""Lists kept photos that may be copies although no hash says so: corner crops, thick borders, mirrored crops.

Decides it in two steps: photos that lie close in the stored features of the first split's selector (or the trunk it shares), and of these the pairs of
which one fits inside the other (`inside`). Features are centred on their mean first, since all photos of one collection share
a direction. A listed pair is a question and merges nothing. Computes no features and loads no model; without stored ones the list
is empty. Exact: every two photos with features are compared, a block at a time.

Measured on 48 photos: crops of 5 and 10 %, 70 % corners, borders of 8 % and their mirror images all fit at 0.93 or more;
unrelated photos at 0.79 at most (1,128 pairs); one dark animal cut out onto two scenes at up to 0.912.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.dedupe.inside import best_fit, searchable
from counteranimal.dedupe.second_look import look_at
from counteranimal.models.registry import trunk_of
from counteranimal.recipe import Recipe
from counteranimal.workspace import Workspace

__all__ = ["close_pairs", "list_similar"]

_BLOCK = 2048
_LEAST_FIT = 0.92


def list_similar(recipe: Recipe, workspace: Workspace) -> dict[str, int]:
    """Write table `similar_pairs` of the kept photos.

    Returns
    -------
    dict
        `embedded` (kept photos with stored features, the most of any view) and `similar` (pairs listed).
    """
    clusters = workspace.table_or_empty("clusters")
    kept = clusters.filter(pc.equal(clusters.column("kept"), True)).column("photo_id").to_pylist()
    found: dict[tuple[str, str], dict[str, object]] = {}
    embedded = 0
    look = functools.cache(lambda photo_id: searchable(look_at(workspace.blobs.read(photo_id))))
    for ids, features, model, view in _spaces(workspace, trunk_of(recipe.splits[0].selector), kept):
        embedded = max(embedded, len(ids))
        for first, second, cosine in close_pairs(features, recipe.dedupe.similar_cosine):
            pair = ids[first], ids[second]
            if best_fit(look(pair[0]), look(pair[1])) < _LEAST_FIT:
                continue
            row = {"photo_a": pair[0], "photo_b": pair[1], "cosine": cosine, "model": model, "view": view}
            if pair not in found or cosine > float(str(found[pair]["cosine"])):
                found[pair] = row
    workspace.write_table("similar_pairs", tables.conform("similar_pairs", found.values()))
    return {"embedded": embedded, "similar": len(found)}


def close_pairs(features: NDArray[np.float32], least: float) -> Iterator[tuple[int, int, float]]:
    """Yield (first, second, cosine) of all pairs first < second whose centred features meet at a cosine of at least `least`.

    Parameters
    ----------
    features : ndarray of float32, (n, d)
    least : float
        -1..1.
    """
    centred = features - features.mean(axis=0, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    for top in range(0, len(unit), _BLOCK):
        for left in range(top, len(unit), _BLOCK):
            cosines = unit[top : top + _BLOCK] @ unit[left : left + _BLOCK].T
            for row, column in zip(*np.nonzero(cosines >= least), strict=True):
                if top + row < left + column:
                    yield int(top + row), int(left + column), float(cosines[row, column])


def _spaces(
    workspace: Workspace, selector: str, wanted: Sequence[str]
) -> Iterator[tuple[list[str], NDArray[np.float32], str, str]]:
    """Yield (photo ids, features (n, d), model, view) of every stored set of the selector's features that holds two photos."""
    folder = workspace.home / "tables" / "embeddings"
    for path in sorted(folder.iterdir()) if folder.exists() else []:
        part = next(iter(sorted(path.glob("part-*.parquet"))), None)
        if part is None or selector not in pq.read_table(part, columns=["model"]).column("model").to_pylist():
            continue
        table = workspace.parts("embeddings", path.name).view(wanted)
        if len(table) > 1:
            flat = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
            features = np.asarray(flat, dtype=np.float32).reshape(len(table), -1)
            yield table.column("photo_id").to_pylist(), features, selector, table.column("view")[0].as_py()
