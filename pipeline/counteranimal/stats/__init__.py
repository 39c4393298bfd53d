"""Intervals, tests and resampling: every formula that a published figure rests on.

Decides the statistics. Knows nothing of photos, folds or models: arrays and numbers go in, numbers come out, and whoever
needs chance passes a generator. Each public function names where its formula comes from.
"""

from counteranimal.stats.bootstrap import Difference, PairedSample, paired_difference
from counteranimal.stats.clusters import (
    GroupAccuracy,
    Photos,
    design_effect,
    effective_size,
    effective_sizes,
    group_accuracies,
    group_accuracy,
    intraclass_correlation,
    mean_cluster_size,
)
from counteranimal.stats.intervals import Interval, combined, combined_p, newcombe, newcombe_p, wilson
from counteranimal.stats.linear import Contrast, LinearFigure, linear_figure, linearise
from counteranimal.stats.robustness import (
    Accuracies,
    Line,
    Robustness,
    draw_line,
    effective_robustness,
    smoothed_logit,
)
from counteranimal.stats.significance import holm, mcnemar_exact
from counteranimal.stats.size import photos_needed

__all__ = [
    "Accuracies",
    "Contrast",
    "Difference",
    "GroupAccuracy",
    "Interval",
    "Line",
    "LinearFigure",
    "PairedSample",
    "Photos",
    "Robustness",
    "combined",
    "combined_p",
    "design_effect",
    "draw_line",
    "effective_robustness",
    "effective_size",
    "effective_sizes",
    "group_accuracies",
    "group_accuracy",
    "holm",
    "intraclass_correlation",
    "linear_figure",
    "linearise",
    "mcnemar_exact",
    "mean_cluster_size",
    "newcombe",
    "newcombe_p",
    "paired_difference",
    "photos_needed",
    "smoothed_logit",
    "wilson",
]
