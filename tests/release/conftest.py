"""The small release that these tests read."""

from tests.fakes.small_release import released, small

__all__ = ["released", "small"]
