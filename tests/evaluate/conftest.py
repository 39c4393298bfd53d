"""A real frozen release with its photos, which every test of a run reads."""

from __future__ import annotations

from tests.fakes.small_release import released, small

__all__ = ["released", "small"]
