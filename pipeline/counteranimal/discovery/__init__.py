"""Discovery: which backgrounds a class is compared on, and what the comparison says, as pure functions on tables.

Decides the pair-choosing rule (docs/explanation/discovery.md). Its backgrounds are people's verdicts, never a machine's. Leaves
running models to `evaluate` and publishing to `freeze`.
"""

from counteranimal.discovery.covariates import covariates, measures
from counteranimal.discovery.diagnostics import Diagnostics, diagnose
from counteranimal.discovery.figures import ClassFigures, class_figures, overall
from counteranimal.discovery.outcomes import Outcomes, join
from counteranimal.discovery.pairs import choose_pairs, pairs_by_class
from counteranimal.discovery.pooling import pool_table
from counteranimal.discovery.sensitivity import sensitivity
from counteranimal.discovery.splits import assign, group_figures, sides_of
from counteranimal.discovery.summary import summary

__all__ = [
    "ClassFigures",
    "Diagnostics",
    "Outcomes",
    "assign",
    "choose_pairs",
    "class_figures",
    "covariates",
    "diagnose",
    "group_figures",
    "join",
    "measures",
    "overall",
    "pairs_by_class",
    "pool_table",
    "sensitivity",
    "sides_of",
    "summary",
]
