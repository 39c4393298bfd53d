"""counteranimal: benchmarks that show how much a vision model leans on the background behind an animal."""

from importlib.metadata import version

__version__ = version("counteranimal")
