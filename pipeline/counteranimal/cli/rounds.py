"""Verbs of a labelling round (`annotate`) and of the local server (`label-studio`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from counteranimal.annotate import server
from counteranimal.cli import round_text
from counteranimal.cli.common import AsJson, Home, RecipeFile, emit, open_run, verb
from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.settings import load_settings
from counteranimal.steps import rounds
from counteranimal.steps.run import Outcome

__all__ = ["annotate", "label_studio"]

annotate = typer.Typer(help="Plan, push, pull and measure rounds of human verification.", no_args_is_help=True)
label_studio = typer.Typer(
    help="Start and stop a Label Studio of our own, on loopback, or check one that somebody else runs.",
    no_args_is_help=True,
)

RoundName = Annotated[str, typer.Option("--round", help="The round's name, such as r1.")]


def _tell(outcome: Outcome, text: Callable[[Mapping[str, Any]], str], *, as_json: bool) -> None:
    emit({"step": outcome.step, **outcome.counts}, as_json=as_json, sentence=text(outcome.counts))


@annotate.command(epilog="Example: counteranimal annotate plan --round r1 --worker anna --worker ben -r recipe.toml")
@verb
def plan(
    recipe_file: RecipeFile,
    round_id: RoundName,
    worker: Annotated[list[str], typer.Option("--worker", help="An annotator; repeat for each.")],
    home: Home = None,
    queue: Annotated[
        rounds.Queue,
        typer.Option(
            "--queue",
            help="Ask about new photos, about photos that lack votes, or about pairs that may be one photo (same or different).",
        ),
    ] = "photos",
    seed: Annotated[str, typer.Option("--seed", help="Draw from this text (default: recipe's seed and round).")] = "",
    hours: Annotated[
        float | None,
        typer.Option("--hours", min=0.01, help="Hours each person has (default: all the recipe asks for)."),
    ] = None,
    drop: Annotated[
        float | None,
        typer.Option("--drop", help="Also tell the photos that each class still needs for a drop of so many points."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a round's photos (or take a queue) and deal them to people, once and for all.

    Votes per photo, gold items, photos per stratum and the random share are the recipe's ([annotate]): they decide what a release
    says.
    """
    run = open_run(recipe_file, home)
    wishes = rounds.Wishes(seed=seed, hours=hours, drop=drop)
    _tell(
        rounds.plan(run, round_id=round_id, workers=worker, queue=queue, wishes=wishes),
        round_text.plan_text,
        as_json=as_json,
    )


@annotate.command(epilog="Example: counteranimal annotate push --round r1 -r recipe.toml")
@verb
def push(
    recipe_file: RecipeFile,
    round_id: RoundName,
    home: Home = None,
    relink: Annotated[bool, typer.Option("--relink", help="Renew the photo links of unanswered tasks.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the round's projects and tasks in Label Studio, each exactly once, and print each person's page."""
    _tell(
        rounds.push(open_run(recipe_file, home), round_id=round_id, relink=relink),
        round_text.push_text,
        as_json=as_json,
    )


@annotate.command(epilog="Example: counteranimal annotate pull --round r1 -r recipe.toml")
@verb
def pull(
    recipe_file: RecipeFile,
    round_id: RoundName,
    home: Home = None,
    recorded: Annotated[
        Path | None, typer.Option("--from", help="Enter the recorded labellings of this CSV file instead.")
    ] = None,
    mapping: Annotated[str, typer.Option("--mapping", help="How the file's words read in our vocabulary.")] = "shared",
    as_json: AsJson = False,
) -> None:
    """Bring every answer ever given into the journal; nothing is ever removed from it."""
    run = open_run(recipe_file, home)
    if recorded is not None:
        outcome = rounds.pull_recorded(run, path=recorded, mapping=mapping, round_id=round_id)
    else:
        outcome = rounds.pull(run, round_id=round_id)
    _tell(outcome, round_text.pull_text, as_json=as_json)


@annotate.command(epilog="Example: counteranimal annotate status -r recipe.toml")
@verb
def status(recipe_file: RecipeFile, home: Home = None, as_json: AsJson = False) -> None:
    """Say how far each round and each person is."""
    found = rounds.round_status(open_run(recipe_file, home))
    empty = "no round is planned yet; `counteranimal annotate plan` draws one"
    emit(found, as_json=as_json, sentence=round_text.status_text(found) if found else empty)


@annotate.command(epilog="Example: counteranimal annotate agreement --round r1 -r recipe.toml --json")
@verb
def agreement(
    recipe_file: RecipeFile,
    home: Home = None,
    round_id: Annotated[str | None, typer.Option("--round", help="One round (default: all pooled).")] = None,
    as_json: AsJson = False,
) -> None:
    """Print Krippendorff's alpha and what stands beside it; the background question's alpha is the gate."""
    found = rounds.agreement(open_run(recipe_file, home), round_id=round_id)
    emit(found, as_json=as_json, sentence=round_text.agreement_text(found))


@annotate.command(epilog="Example: counteranimal annotate adjudicate --round r1 --adjudicator dora -r recipe.toml")
@verb
def adjudicate(
    recipe_file: RecipeFile,
    round_id: RoundName,
    adjudicator: Annotated[str, typer.Option("--adjudicator", help="Who settles disagreements.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Queue a round's disagreements for one named person."""
    run = open_run(recipe_file, home)
    _tell(rounds.adjudicate(run, round_id=round_id, adjudicator=adjudicator), round_text.push_text, as_json=as_json)


@annotate.command(epilog="Example: counteranimal annotate close --round r1 -r recipe.toml")
@verb
def close(recipe_file: RecipeFile, round_id: RoundName, home: Home = None, as_json: AsJson = False) -> None:
    """End a round; late answers are still kept."""
    _tell(rounds.close(open_run(recipe_file, home), round_id=round_id), round_text.closed_text, as_json=as_json)


@label_studio.command(epilog="Example: counteranimal label-studio up --port 8181")
@verb
def up(
    home: Home = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Loopback port (default: a free one).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start the pinned server in its own environment, with its own secrets; the first start may take a minute."""
    settings = load_settings(home=home)
    found = server.up(settings, server.data_folder(settings), port=port)
    password = found.data_dir / "secrets" / "password"
    emit({"url": found.url, "account": found.account, "password": f"see {password}", "pid": found.pid}, as_json=as_json)


@label_studio.command(epilog="Example: counteranimal label-studio down")
@verb
def down(home: Home = None, as_json: AsJson = False) -> None:
    """Stop the server that `up` started, and nothing else."""
    settings = load_settings(home=home)
    if not server.down(server.data_folder(settings)):
        raise UsageError(f"no Label Studio of the workspace {settings.home} runs; `label-studio up` starts one")
    emit({"stopped": True}, as_json=as_json, sentence="Label Studio is stopped")


@label_studio.command(epilog="Example: counteranimal label-studio doctor")
@verb
def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Check the server that rounds are pushed to, ours or another's, and name the setting that is wrong."""
    settings = load_settings(home=home)
    url, token = server.address(settings)
    from counteranimal.annotate import checkup  # its client is an extra that an evaluator does without

    checks = checkup.check_up(url, token, photo_server=settings.photo_server)
    lines = [f"{'holds' if check.good else 'WRONG'}  {check.what}: {check.detail}" for check in checks]
    found = {check.what: {"holds": check.good, "detail": check.detail} for check in checks}
    emit({"url": url, **found}, as_json=as_json, sentence="\n".join([url, *lines]))
    wrong = [check.what for check in checks if not check.good]
    if wrong:
        raise EnvironmentFailure(f"{url} is not ready for a round ({', '.join(wrong)}); mend what is named above")


@label_studio.command(epilog="Example: counteranimal label-studio invite")
@verb
def invite(home: Home = None, as_json: AsJson = False) -> None:
    """Print the link with which annotators make their accounts; whoever holds it can make one."""
    from counteranimal.annotate.studio import LabelStudioServer

    studio = LabelStudioServer(*server.address(load_settings(home=home)))
    try:
        link = studio.invitation()
    finally:
        studio.close()
    emit({"invitation": link}, as_json=as_json, sentence=link)
