"""The command line: one Typer verb a function, no logic; every verb is a thin call into `steps`.

Exit codes: 0 done, 1 bug, 2 usage, 3 integrity or policy failure, 4 environment or upstream (a re-run finishes).
"""

from __future__ import annotations

import typer

from counteranimal.cli.curate import register as register_curate
from counteranimal.cli.evaluator import register as register_evaluator
from counteranimal.cli.inspection import register as register_inspection
from counteranimal.cli.publisher import register as register_publisher
from counteranimal.cli.recipes import register as register_recipes
from counteranimal.cli.rounds import annotate, label_studio
from counteranimal.cli.schedule import register as register_schedule
from counteranimal.cli.upkeep import register as register_upkeep

__all__ = ["app", "main"]

app = typer.Typer(
    name="counteranimal",
    help="Does a vision model recognise the animal, or the grass behind it? Curate benchmarks that tell, and evaluate on them.",
    epilog="Exit codes: 0 done; 1 bug; 2 usage; 3 integrity or policy failure; 4 environment or upstream, run again to finish.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for register in (
    register_inspection,
    register_recipes,
    register_curate,
    register_schedule,
    register_upkeep,
    register_publisher,
    register_evaluator,
):
    register(app)
app.add_typer(annotate, name="annotate")
app.add_typer(label_studio, name="label-studio")


def main() -> None:
    """Run the command line; the entry point of the console script."""
    app()
