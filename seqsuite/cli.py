"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from seqsuite import __version__
from seqsuite.errors import UserError

EXIT_USAGE = 2


if "_SEQSUITE_COMPLETE" in os.environ:  # a shell asks for completions
    from seqsuite.completion import register

    register()


class SeqsuiteGroup(click.Group):
    """A command group that shows :class:`UserError` as one sentence with exit status 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_USAGE)


def _complete_setting(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from seqsuite.completion import complete_override

    return complete_override(incomplete, ctx.params.get("settings") or ())


_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True}


@click.group(cls=SeqsuiteGroup, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="seqsuite")
def main() -> None:
    """Run, compare and reproduce the experiments of the Mamba paper.

    \b
    Examples:
      seqsuite run task=dna model=mamba
      seqsuite run task=selective_copying model=mamba,s4,transformer seed=0..2
      seqsuite results
      seqsuite list
    """


@main.command()
@click.argument("settings", nargs=-1, metavar="KEY=VALUE...", shell_complete=_complete_setting)
@click.option("--dry-run", is_flag=True, help="Show the cells and their parameter counts; run nothing.")
@click.option("--force", is_flag=True, help="Start afresh, even cells that are finished or interrupted.")
def run(settings: tuple[str, ...], dry_run: bool, force: bool) -> None:
    """Train and evaluate a task and a model, or a grid of them.

    A value may be several: a,b,c or 0..4 make a grid, the product over all keys. Finished cells are skipped;
    interrupted ones continue where they stopped. Press Ctrl-C to stop and keep the work.

    \b
    Examples:
      seqsuite run task=dna model=mamba
      seqsuite run task=dna task.path=genome.fa.gz model=s4 train.steps=500
      seqsuite run task=selective_copying model=mamba,s4,transformer seed=0..2
      seqsuite run task=text,piano model=mamba scale=smoke
      seqsuite run task=dna model=mamba model.d_model=128 model.mixer.d_state=32 --dry-run

    \b
    Keys:
      task, model    what and with what; `seqsuite list` shows the names
      scale          smoke (seconds), cpu (minutes), paper (the exact protocol)
      seed           of the data and of the initial weights
      task.*         options of the task, such as task.path and task.seqlen
      model.*        model.size, model.d_model, model.n_layer; model.block, model.mixer, model.backbone and
                     their options; docs/zoo.md has them all
      train.*        train.steps, train.batch_size, train.learning_rate, ...
      run.*          run.experiment, run.output, run.device, run.sample_length
    """
    from seqsuite.commands.run import run_settings

    sys.exit(run_settings(settings, dry_run=dry_run, force=force))


@main.command(name="list")
def list_command() -> None:
    """List tasks, models, blocks, mixers, backbones and scales, each in one line."""
    from seqsuite.commands.names import show_names

    show_names()


@main.command()
def doctor() -> None:
    """Say what this machine has: versions, cores, GPU, kernel backends, samples and extras."""
    from seqsuite.commands.doctor import show_machine

    show_machine()


@main.command()
@click.argument("run_name", metavar="RUN")
@click.option("--length", type=click.IntRange(min=1), default=512, help="Tokens to generate.")
@click.option("--temperature", type=click.FloatRange(min=0), default=1.0, help="0 is greedy.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the sampling.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to look in.")
def generate(
    run_name: str, length: int, temperature: float, seed: int, output: Path | None, experiment: str
) -> None:
    """Generate text, DNA or audio with the model of a finished RUN.

    RUN is a run's name or the beginning of its id, as `seqsuite run` and MLflow show them, or "latest".

    \b
    Examples:
      seqsuite generate latest --length 1000
      seqsuite generate dna-mamba-cpu-seed0 --output sample.fasta
    """
    from seqsuite.commands.generate import generate_sample

    generate_sample(run_name, experiment, length=length, temperature=temperature, seed=seed, output=output)


@main.command()
@click.argument("filters", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "md", "csv", "json", "latex"]),
    default="table",
    help="Form.",
)
@click.option("--paper/--no-paper", default=True, help="Show the paper's numbers beside ours.")
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), help="Also draw a PNG here.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to read.")
def results(filters: tuple[str, ...], style: str, paper: bool, figure: Path | None, experiment: str) -> None:
    """Show the finished runs: mean ± spread over seeds, best first, beside baseline and paper.

    \b
    Examples:
      seqsuite results
      seqsuite results task=dna,text scale=cpu --format md
      seqsuite results task=selective_copying --figure copying.png
    """
    from seqsuite.commands.results import show_results

    show_results(filters, style=style, paper=paper, figure=figure, experiment=experiment)


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, help="Port to serve on.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to open.")
def ui(port: int, browser: bool, experiment: str) -> None:
    """Open MLflow's pages on the result table; stop with Ctrl-C."""
    from seqsuite.results.ui import launch

    launch(port, browser, experiment=experiment)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a SHELL.

    \b
    Examples:
      eval "$(seqsuite completion bash)"      # in ~/.bashrc
      eval "$(seqsuite completion zsh)"       # in ~/.zshrc
      seqsuite completion fish | source       # in ~/.config/fish/config.fish
    """
    from seqsuite.completion import script

    click.echo(script(shell))
