"""How many photos a group needs before a drop of a given size is likely to be confirmed.

Decides the formula. Clusters and weights enter by the design effect, which multiplies the answer and is the caller's to know.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from counteranimal.errors import UsageError

__all__ = ["photos_needed"]


def photos_needed(common: float, drop: float, *, tests: int = 45, level: float = 0.05, power: float = 0.8) -> int:
    """Return the effective photos that each group needs for a one-sided test of `drop` > 0.

    Two independent proportions, normal approximation with unpooled variance, Bonferroni's level / `tests` (Fleiss, Levin and
    Paik 2003, 4.2).

    Parameters
    ----------
    common, drop : float
        Accuracy of the common group and its true excess over the counter group, as fractions.
    tests : int
        Classes that are tested together.

    Raises
    ------
    UsageError
        If the drop is not above 0 and at most the common accuracy, or a level is not between 0 and 1.

    Examples
    --------
    >>> [photos_needed(0.75, drop) for drop in (0.3, 0.2, 0.1)]
    [74, 166, 632]
    """
    if not (0.0 < drop <= common <= 1.0 and tests >= 1 and 0.0 < level < 1.0 and 0.0 < power < 1.0):
        raise UsageError(
            f"no size can be planned for a drop of {drop} from an accuracy of {common}; give fractions above 0"
        )
    counter = common - drop
    reach = NormalDist().inv_cdf(1.0 - level / tests) + NormalDist().inv_cdf(power)
    variance = common * (1.0 - common) + counter * (1.0 - counter)
    return math.ceil(reach**2 * variance / drop**2)
