"""Evaluates models on a frozen release: the same photos, candidates, tie rule and intervals for everybody.

Decides how an answer is judged and what is published of it. Leaves loading models to `models`, classifiers to `zeroshot`, and
the arithmetic of intervals to `stats`. Importing this package imports no torch.
"""

from counteranimal.evaluate.engine import Labels, PhotoSet, candidates_1v20, predict
from counteranimal.evaluate.results import results_table
from counteranimal.evaluate.run import Evaluator, evaluate
from counteranimal.evaluate.spaces import LabelSpace, read_label_space

__all__ = [
    "Evaluator",
    "LabelSpace",
    "Labels",
    "PhotoSet",
    "candidates_1v20",
    "evaluate",
    "predict",
    "read_label_space",
    "results_table",
]
