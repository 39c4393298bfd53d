"""Runs the command line as `python -m counteranimal.cli`."""

from counteranimal.cli import main

main()
