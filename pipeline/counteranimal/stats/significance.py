"""Tests: several p-values at once, and two models on the same photos.

Decides only the arithmetic; which p-values belong together is decided by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

from counteranimal.errors import UsageError

__all__ = ["holm", "mcnemar_exact"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values (Holm 1979), in the order given.

    Examples
    --------
    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    if any(not 0.0 <= p <= 1.0 for p in p_values):
        raise UsageError("p-values lie between 0 and 1; leave out what has none")
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return McNemar's exact two-sided p-value for two models on the same photos.

    It treats photos as independent: where several photos share an observer it is too sure, which a report has to say.

    Parameters
    ----------
    only_first, only_second : int
        Photos that only the first, only the second model gets right.

    Examples
    --------
    >>> round(mcnemar_exact(40, 20), 4), mcnemar_exact(5, 0), mcnemar_exact(0, 0)
    (0.0135, 0.0625, 1.0)
    """
    if min(only_first, only_second) < 0:
        raise UsageError("counts of photos cannot be negative")
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    # Imported here: reading a release needs no SciPy, and loading it takes longer than most commands.
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(only_first, only_second), discordant, 0.5)))
