"""``seqsuite runs`` on the command line: list, show, compare and delete what was run."""

from typing import Any

import click

_EXPERIMENT = click.option("--experiment", default="seqsuite", help="MLflow experiment to look in.")


def complete_any_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Return the names of runs that a RUN can go on with."""
    from seqsuite.completion import complete_run

    return complete_run(incomplete, ctx.params.get("experiment") or "seqsuite")


@click.group(invoke_without_command=True)
@_EXPERIMENT
@click.pass_context
def runs(ctx: click.Context, experiment: str) -> None:
    """List every run of a cell, newest first; or show, compare and delete runs.

    A RUN is the name or the beginning of the id of a run, whatever became of it, or "latest".

    \b
    Examples:
      seqsuite runs
      seqsuite runs show latest
      seqsuite runs diff dna-mamba-cpu-seed0 3f2a
      seqsuite runs delete 3f2a 77c0
    """
    ctx.obj = experiment
    if ctx.invoked_subcommand is None:
        from seqsuite.commands.runs import list_runs

        list_runs(experiment)


@runs.command()
@click.argument("run", shell_complete=complete_any_run)
@click.pass_obj
def show(experiment: str, run: str) -> None:
    """Show one RUN: its settings, environment, results, curves and files."""
    from seqsuite.commands.runs import show_run

    show_run(experiment, run)


@runs.command()
@click.argument("first", shell_complete=complete_any_run)
@click.argument("second", shell_complete=complete_any_run)
@click.pass_obj
def diff(experiment: str, first: str, second: str) -> None:
    """Show two runs side by side, as `seqsuite results compare` does."""
    from seqsuite.commands.compare import compare_runs
    from seqsuite.commands.results import reader_of

    compare_runs(reader_of(None, experiment), (first, second))


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_any_run)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(experiment: str, names: tuple[str, ...], yes: bool) -> None:
    """Delete runs; `mlflow gc` then frees what they take, and until then they can be restored in MLflow."""
    from seqsuite.commands.runs import delete_runs, find_any

    found = [find_any(experiment, name) for name in names]
    told = ", ".join(f"{run.name} ({run.run_id[:8]}, {run.status})" for run in found)
    if not yes:
        click.confirm(f"Delete {told}?", abort=True, err=True)
    delete_runs(experiment, found)
    click.echo(f"Deleted {told}.")
