"""The options of ``seqsuite inspect``; what it does is imported when it is called."""

from pathlib import Path

import click


@click.command("inspect")
@click.argument("sources", nargs=-1, metavar="[RUN]...")
@click.option("--input", "text", required=True, help="The text or DNA to show, as the run's task reads it.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("inspect.html"))
@click.option("--experiment", default="seqsuite", help="MLflow experiment that the runs are in.")
def inspect_runs(sources: tuple[str, ...], text: str, output: Path, experiment: str) -> None:
    """Write a page that steps through an input: what a model lets in, keeps, and would say.

    RUN is a finished run or a folder, of a task whose tokens are text; several are shown side by side.
    Without one, Mamba and S4D are trained on the task hamburger, once.

    \b
    Examples:
      seqsuite inspect --input "i want to order a hamburger ."
      seqsuite inspect text-mamba-cpu-seed0 text-transformer-cpu-seed0 --input "It was the best of times"
    """
    from seqsuite.commands.inspect import inspect_to_page

    inspect_to_page(sources, text, output, experiment)
