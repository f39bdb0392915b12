"""The options of ``seqsuite inspect``; what it does is imported when it is called."""

from pathlib import Path
from typing import Any

import click


def _complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from seqsuite.completion import complete_model

    return complete_model(incomplete, ctx.params.get("experiment") or "seqsuite")


@click.command("inspect")
@click.argument("sources", nargs=-1, metavar="[RUN]...", shell_complete=_complete_model)
@click.option(
    "--input",
    "texts",
    multiple=True,
    help="Text or DNA as the run's task reads it, or the path of an audio file; may be given several times. "
    "By default the beginning of the task's first test row; of the demonstration its sentence, i want to "
    "order a hamburger .",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("inspect.html"),
    show_default=True,
    help="A page (.html), or a picture of the first input (.png, .pdf, .svg).",
)
@click.option(
    "--times/--no-times", default=True, help="Time the scan on this machine, for the page's third tab."
)
@click.option("--experiment", default="seqsuite", help="MLflow experiment that the runs are in.")
def inspect_runs(
    sources: tuple[str, ...], texts: tuple[str, ...], output: Path, times: bool, experiment: str
) -> None:
    """Write a page that steps through an input: what a model lets in, keeps, and would say.

    RUN is a finished run or a folder, of a task of text, DNA or audio; several are shown side by side.
    Without one, Mamba and S4D are trained on the task hamburger, once. In the page of small models a
    reader can type a sentence of their own.

    \b
    Examples:
      seqsuite inspect
      seqsuite inspect --input "i need to cancel a cheap flight ." --output cancel.png
      seqsuite inspect text-mamba-cpu-seed0 text-transformer-cpu-seed0 --input "It was the best of times"
    """
    from seqsuite.commands.inspect import inspect_to_file

    inspect_to_file(sources, texts, output, experiment, times=times)
