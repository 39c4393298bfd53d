"""Models with real weights, built once a session."""

from __future__ import annotations

from tests.model_fixtures import lite2, offline_settings, real_photos, stand_in, tiny_clip

__all__ = ["lite2", "offline_settings", "real_photos", "stand_in", "tiny_clip"]
