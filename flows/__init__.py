"""Prefect flows: each wraps steps of counteranimal for schedules and workers, and holds no logic of its own."""
