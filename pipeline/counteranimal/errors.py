"""Every error this project raises, and every reason a row can carry.

This module decides what kinds of failure there are and which exit code each one has. It leaves the sentence to the place
that raises: a message names what is wrong and what to do next, in one line.

::

    CounteranimalError        1  a bug, unless a subclass says otherwise
    ├── UsageError            2  the command, recipe or settings are wrong
    │   └── RecipeError       2  a recipe names something that does not exist
    ├── IntegrityError        3  bytes or tables are not what their digest says
    ├── PolicyError           3  a rule of the project refuses (a gate, a licence, an address)
    └── EnvironmentFailure    4  the machine or an upstream is not ready; a re-run finishes
        ├── MissingDependency 4  a package or program has to be installed
        └── UpstreamError     4  a server answered badly or not at all
    Rejected                     not a failure: one item is turned away with a reason code
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "CounteranimalError",
    "EnvironmentFailure",
    "IntegrityError",
    "MissingDependency",
    "PolicyError",
    "Reason",
    "RecipeError",
    "Rejected",
    "UpstreamError",
    "UsageError",
]


class Reason(StrEnum):
    """Why a row was turned away, put off or merged; the codes of the reliability catalogue where it has one."""

    LINE = "E_LINE"
    CLASS = "E_CLASS"
    LICENSE = "E_LICENSE"
    ATTRIBUTION = "E_ATTRIBUTION"
    SCHEME = "E_SCHEME"
    SSRF = "E_SSRF"
    REDIRECT = "E_REDIRECT"
    ROBOTS = "E_ROBOTS"
    OPTOUT = "E_OPTOUT"
    HTTP = "E_HTTP"
    GONE = "E_GONE"
    TIMEOUT = "E_TIMEOUT"
    CONNECTION = "E_CONNECTION"
    RATE = "E_RATE"
    TOO_LARGE = "E_TOO_LARGE"
    EMPTY = "E_EMPTY"
    TYPE = "E_TYPE"
    TRUNCATED = "E_TRUNCATED"
    TOO_SMALL = "E_TOO_SMALL"
    BOMB = "E_BOMB"
    ANIMATED = "E_ANIMATED"
    DECODE = "E_DECODE"
    DECODE_CRASH = "E_DECODE_CRASH"
    DECODE_TIMEOUT = "E_DECODE_TIMEOUT"
    DECODE_MEMORY = "E_DECODE_MEMORY"
    SUSPECT = "E_SUSPECT"
    MISMATCH = "E_MISMATCH"
    LOST = "E_LOST"
    ANSWER = "E_ANSWER"
    CLASS_CONFLICT = "class_conflict"
    NOT_FINITE = "E_NOT_FINITE"
    UNUSABLE = "unusable"
    NO_MAJORITY = "no_majority"
    TOO_FEW_VOTES = "too_few_votes"
    PERSON = "person_recognisable"


class CounteranimalError(Exception):
    """Base of every error the project raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class UsageError(CounteranimalError):
    """The command, recipe or settings ask for something that cannot be."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe is unreadable or names an unknown class, background, licence, source or model."""


class IntegrityError(CounteranimalError):
    """Bytes or tables are not what their digest, schema or signature says."""

    exit_code = 3


class PolicyError(CounteranimalError):
    """A rule of the project refuses, and no flag turns it off."""

    exit_code = 3


class EnvironmentFailure(CounteranimalError):  # noqa: N818 - the word says whose fault it is not
    """The machine or a service is not ready (disk, port, network); what was done stays done and a re-run finishes."""

    exit_code = 4


class MissingDependency(EnvironmentFailure):
    """A package, program or Debian package has to be installed first."""


class UpstreamError(EnvironmentFailure):
    """A server that the project depends on answered badly or not at all."""


class Rejected(Exception):  # noqa: N818 - an outcome of one item, not an error of the run
    """One item is turned away: `reason` is its code, `detail` one sentence for people."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
