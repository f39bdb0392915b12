"""``seqsuite results`` and ``reproduce`` on the command line: what was run, and the studies of papers."""

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from seqsuite.cli_options import FORCE, FORMAT, RETRY_FAILED, TAKEOVER, figure_options
from seqsuite.commands.group import require_address_space
from seqsuite.errors import UserError

_FILE = click.Path(dir_okay=False, path_type=Path)
_FROM = click.option("--from", "source", type=_FILE, help="Read this file of runs in place of MLflow.")
_INTERVALS = click.option(
    "--interval", "intervals", is_flag=True, help="Show means with 95 % intervals, not ± deviations."
)
_SHARED = click.option(
    "--from", "sources", type=_FILE, multiple=True, help="Do not run what is finished in this file of runs."
)
_PROBE = click.option("--probe", is_flag=True, help="With --dry-run: time a few steps, and measure memory.")
_SCALE = click.Choice(["smoke", "cpu", "gpu", "paper"])


@click.command()
@click.argument("filters", nargs=-1, metavar="[KEY=VALUE]...")
@FORMAT
@click.option("--paper/--no-paper", default=True, help="Show published numbers beside ours.")
@figure_options
@click.option("--rows", help="Settings, by commas, whose values make the rows of a pivot table.")
@click.option("--cols", help="Setting whose values make its columns; `set`: the evaluation sets.")
@click.option("--metric", help="Metric in its cells, or SET/METRIC.  [default: each task's own]")
@click.option("--best-of", help="Settings of a sweep, by commas: each row at its best on validation data.")
@_INTERVALS
@_FROM
@click.option("--export", type=_FILE, help="Also write the ended runs, as one file, for --from.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to read.")
def results(filters: tuple[str, ...], **options: Any) -> None:
    """Show the finished runs: mean ± spread over seeds, best first, beside baselines and published numbers.

    Only what was scored on the same data in the same way shares a table. KEY is any setting; = and != take
    several values, and >=, <=, > and < a number (quote them: a shell takes them for itself).

    `results compare RUN RUN` shows two runs side by side, by name or the beginning of an id: settings that
    differ, metrics, and with --figure their curves over each other.

    \b
    Examples:
      seqsuite results
      seqsuite results compare dna-mamba-cpu-seed0 dna-s4-cpu-seed0 --figure curves.svg
      seqsuite results task=dna,text scale=cpu --format md
      seqsuite results task=selective_copying 'task.length>=256' model.mixer=s4d,s6
      seqsuite results task=selective_copying --figure copying.svg
      seqsuite results --rows model --cols task.length --metric accuracy
      seqsuite results task=text --best-of train.learning_rate
      seqsuite results scale=cpu --export runs.json && seqsuite results --from runs.json
    """
    from seqsuite.commands.results import reader_of, show_results

    if filters[:1] == ("compare",):  # no filter: those have a relation
        from seqsuite.commands.compare import compare_runs

        reader = reader_of(options["source"], options["experiment"])
        compare_runs(reader, filters[1:], options["style"], options["figure"])
        return
    if filters[:1] == ("export",):
        raise UserError("Runs are written to a file by an option: seqsuite results --export FILE.")
    show_results(filters, **options)


@click.command()
@click.argument("name", required=False)
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--list", "listing", is_flag=True, help="Show the studies, and what of each exists.")
@click.option("--scale", type=_SCALE, default="cpu", help="How large: seconds, minutes, a GPU, the paper.")
@click.option("--dry-run", is_flag=True, help="Show the cells and their parameter counts; run nothing.")
@_PROBE
@FORCE
@TAKEOVER
@RETRY_FAILED
@_SHARED
@click.option("--export", type=_FILE, help="Also write the study's ended runs, as one file, for --from.")
@FORMAT
@_INTERVALS
@figure_options
@click.option("--experiment", default="seqsuite", help="MLflow experiment to look and to record in.")
@click.pass_context
def reproduce(
    ctx: click.Context,
    /,
    name: str | None,
    settings: tuple[str, ...],
    listing: bool,
    **options: Any,
) -> None:
    """Run what is missing of a study, and show it beside the paper's numbers.

    NAME is a table or figure of a paper, as --list shows them, or a TOML file of your own. Finished cells are
    skipped and interrupted ones continue, so that the same command goes on after any stop. Settings are over
    those of the study's grids.

    \b
    Examples:
      seqsuite reproduce --list
      seqsuite reproduce table1 --scale smoke
      seqsuite reproduce table1 --dry-run --probe
      seqsuite reproduce table1 seed=0 --figure table1.svg
      seqsuite reproduce table1 --from theirs.json --export ours.json
      seqsuite reproduce my-study.toml --scale cpu
    """
    if listing or name is None:
        from seqsuite.commands.studies import list_studies

        is_given = ctx.get_parameter_source("scale") is ParameterSource.COMMANDLINE
        list_studies(options["style"], options["experiment"], options["scale"] if is_given else None)
        return
    from seqsuite.commands.reproduce import reproduce_study

    require_address_space()
    sys.exit(reproduce_study(name, settings, **options))


@click.command()
@click.argument("filters", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--output", type=_FILE, default=Path("report.html"), help="HTML file to write.")
@_FROM
@click.option("--experiment", default="seqsuite", help="MLflow experiment to read.")
def report(filters: tuple[str, ...], **options: Any) -> None:
    """Write one HTML page of all studies and results: it works from disk, and prints.

    It begins with a line a study, which says whether the order of the models is the paper's. Each study has
    what its runs show, its table, pictures, command, settings, runs, and what the models generated. KEY=VALUE
    are conditions as those of `seqsuite results`.

    \b
    Examples:
      seqsuite report
      seqsuite report scale=cpu --output cpu.html
      seqsuite report --from runs.json
    """
    from seqsuite.commands.report import write_report

    write_report(filters, **options)


@click.command()
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option(
    "--scale", type=click.Choice(["smoke", "cpu"]), default="cpu", help="A minute, or half an hour."
)
@click.option("--dry-run", is_flag=True, help="Show the cells and what they are equal in; run nothing.")
@_PROBE
@FORCE
@TAKEOVER
@click.option("--output", type=_FILE, default=Path("scorecard.html"), help="HTML page to write.")
@FORMAT
@figure_options
@click.option("--stored/--fresh", default=True, help="Take runs of built-in models from the package.")
@_SHARED
@click.option("--export", type=_FILE, help="Also write the runs of these models, as one file.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to record in.")
def scorecard(settings: tuple[str, ...], **options: Any) -> None:
    """Run a fixed battery of tests on a model, and show its card beside Mamba, S4 and a Transformer.

    Copying, recall, length, state tracking, language, DNA, audio, and cost: all models have as many
    parameters as Mamba, and each the better of two learning rates. KEY=VALUE says which models, as for
    `seqsuite run`; the card is that of the last. Finished cells are skipped, so that the same command goes on
    after any stop.

    \b
    Examples:
      seqsuite scorecard model=mamba
      seqsuite scorecard model=mamba,gated_deltanet run.executor=processes run.parallel=2
      seqsuite scorecard model=mamba model.mixer=s6,ema --figure ema.svg
      seqsuite scorecard model=s4d --scale smoke --dry-run
    """
    from seqsuite.commands.scorecard import make_scorecard

    require_address_space()
    sys.exit(make_scorecard(settings, **options))
