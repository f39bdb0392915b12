"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it."""

import os
import sys
from pathlib import Path
from typing import Any, Literal

import click
from click.core import ParameterSource

from seqsuite import __version__
from seqsuite.cli_options import FORCE, FORMAT, RETRY_FAILED, TAKEOVER, figure_options
from seqsuite.cli_results import report, reproduce, results, scorecard
from seqsuite.cli_runs import runs
from seqsuite.commands.data_group import data
from seqsuite.commands.group import SeqsuiteGroup, require_address_space
from seqsuite.commands.inspect_command import inspect_runs
from seqsuite.errors import UserError
from seqsuite.report.pictures import PictureFile

if "_SEQSUITE_COMPLETE" in os.environ:  # a shell asks for completions
    from seqsuite.completion import register

    register()


def _complete_setting(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from seqsuite.completion import complete_override

    return complete_override(incomplete, ctx.params.get("settings") or ())


def _complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from seqsuite.completion import complete_model

    return complete_model(incomplete, ctx.params.get("experiment") or "seqsuite")


_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DEVICE = click.Choice(["auto", "cpu", "cuda"])
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
@FORCE
@TAKEOVER
@RETRY_FAILED
@click.option("--probe", is_flag=True, help="With --dry-run: time a few steps, and measure memory.")
@click.option("--offline", is_flag=True, help="Record to files only; `seqsuite sync` sends them later.")
@click.option("--config", "file", type=_FILE, help="TOML file of settings or a grid; arguments are over it.")
@click.option("--zip", "zipped", is_flag=True, help="Pair the values of all keys in place of their product.")
@click.option("--print-config", is_flag=True, help="Print the cell as a file for --config; run nothing.")
def run(settings: tuple[str, ...], **options: Any) -> None:
    """Train and evaluate a task and a model, or a grid of them.

    A value may be several: a,b,c or 0..4 make a grid, the product over all keys. Finished cells are skipped;
    interrupted ones continue where they stopped. Press Ctrl-C to stop and keep the work.

    A file for --config has the same keys, as tables or with dots, and those with several values in [grid].

    \b
    Examples:
      seqsuite run task=dna model=mamba
      seqsuite run task=dna task.path=genome.fa.gz model=s4 train.steps=500
      seqsuite run task=selective_copying model=mamba,s4,transformer seed=0..2
      seqsuite run task=text,piano model=mamba scale=smoke run.executor=processes run.parallel=2
      seqsuite run task=dna model=mamba model.d_model=128 model.mixer.d_state=32 --dry-run
      seqsuite run task=text model.d_model=64,128 model.n_layer=8,4 --zip
      seqsuite run task=text --print-config > cell.toml && seqsuite run --config cell.toml seed=0..2

    \b
    Keys:
      task, model    what and with what; `seqsuite list` shows the names
      scale          smoke (seconds), cpu (minutes), gpu (one GPU), paper (the published protocol)
      seed           of the data and of the initial weights
      task.*         options of the task, such as task.path and task.seqlen
      model.*        model.size, model.d_model, model.n_layer; model.block, model.mixer, model.backbone and
                     their options; `seqsuite keys` has them all
      train.*        train.steps, train.batch_size, train.learning_rate, ...
      run.*          run.name, run.output, run.device, run.executor (inline, processes, ray, slurm), ...
    """
    require_address_space()
    from seqsuite.commands.run import run_settings

    sys.exit(run_settings(settings, **options))


main.add_command(runs)


@main.command()
@click.argument("prefix", default="", shell_complete=_complete_setting)
def keys(prefix: str) -> None:
    """List the keys that can be set and begin with PREFIX: type, default, meaning and choices.

    A choice in place of PREFIX, such as task=NAME, lists its options alone.

    \b
    Examples:
      seqsuite keys train
      seqsuite keys model.mixer.
      seqsuite keys task=mqar
    """
    from seqsuite.commands.keys import show_keys

    show_keys(prefix)


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


_SAMPLING = {
    "temperature": (click.FloatRange(min=0), 1.0, "Divides the logits; 0 is greedy."),
    "top_k": (click.IntRange(min=1), None, "Draw from the k most likely tokens only."),
    "top_p": (click.FloatRange(min=0, max=1, min_open=True), 1.0, "Draw from the likeliest with this share."),
    "repetition_penalty": (click.FloatRange(min=0, min_open=True), 1.0, "Above 1 avoids tokens that were."),
}


def _sampling_options(command: Any) -> Any:
    for name, (kind, default, text) in reversed(_SAMPLING.items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, type=kind, default=default, help=text)(command)
    return command


@main.command()
@click.argument("source", metavar="MODEL", shell_complete=_complete_model)
@click.option("--length", type=click.IntRange(min=1), default=512, help="Tokens to generate.")
@click.option("--prompt", multiple=True, help="Text or bases to go on from; several make a batch.")
@click.option("--prompt-file", multiple=True, type=_FILE, help="File to go on from, of the task's format.")
@_sampling_options
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the sampling.")
@click.option("--output", type=_FILE, help="File to write; by default named after the run.")
@click.option(
    "--stream/--no-stream", default=None, help="Show tokens as they come: by default in a terminal."
)
@click.option("--tokenizer", help="Folder or hub name of the tokenizer, if MODEL has none beside it.")
@click.option("--device", type=_DEVICE, default="auto", help="Where to compute; auto takes a GPU.")
@click.option("--save-state", type=_FILE, help="Write here what it takes to go on.")
@click.option("--resume-state", type=_FILE, help="Go on exactly from a saved state.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to look in.")
@click.pass_context
def generate(ctx: click.Context, /, source: str, experiment: str, **options: Any) -> None:
    """Generate text, DNA or audio with a MODEL: what it makes of a prompt.

    MODEL is a finished run, by its name or the beginning of its id as `seqsuite run` and MLflow show them, or
    "latest"; or a folder or a name on the Hugging Face hub, with a tokenizer. Without a prompt a run goes on
    from the beginning of its task's test data. Ctrl-C stops and keeps the work.

    \b
    Examples:
      seqsuite generate latest --length 1000
      seqsuite generate dna-mamba-cpu-seed0 --prompt ACGTTGCA --output sample.fasta
      seqsuite generate latest --prompt "My fellow" --prompt "We the" --temperature 0.8 --top-p 0.95
      seqsuite generate state-spaces/mamba-130m --tokenizer EleutherAI/gpt-neox-20b --prompt "The"
      seqsuite generate latest --length 100000 --save-state half.safetensors
      seqsuite generate latest --length 100000 --resume-state half.safetensors
    """
    require_address_space()
    from seqsuite.commands.generate import Request, generate_samples

    if options["resume_state"] is not None:
        for name in (*_SAMPLING, "seed", "prompt", "prompt_file"):
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} is part of what --resume-state goes on with: leave it out.")
    sampling = {name: options.pop(name) for name in _SAMPLING}
    sys.exit(generate_samples(source, experiment, Request(sampling=sampling, **options)))


@main.command()
@click.argument("source", metavar="SRC", shell_complete=_complete_model)
@click.argument("destination", metavar="DST", type=click.Path(path_type=Path))
@click.option("--format", "style", type=click.Choice(["hf", "native"]), default="hf", help="Format to write.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to look in, if SRC is a run.")
def convert(source: str, destination: Path, style: Literal["hf", "native"], experiment: str) -> None:
    """Write the model SRC to the folder DST, as transformers (hf) or as seqsuite (native) loads it.

    SRC is a folder with a Hugging Face Mamba or Mamba-2, an original state-spaces/mamba-* or a checkpoint
    of seqsuite;
    or a name on the Hugging Face hub, with its slash; or a finished run, or "latest".

    \b
    Examples:
      seqsuite convert latest my-mamba
      seqsuite convert text-mamba-cpu-seed0 my-mamba --format hf
      seqsuite convert state-spaces/mamba-130m mamba-130m --format native
    """
    require_address_space()
    from seqsuite.commands.convert import convert as convert_model

    convert_model(source, destination, format=style, experiment=experiment)


@main.command(name="eval")
@click.argument("source", metavar="MODEL", shell_complete=_complete_model)
@click.option("--tasks", required=True, help="Names of the harness's tasks, or YAML files, with commas.")
@click.option("--include", type=_FOLDER, help="Folder with YAML files of more tasks.")
@click.option("--tokenizer", help="Folder or hub name of the tokenizer, if MODEL has none beside it.")
@click.option("--num-fewshot", type=click.IntRange(min=0), help="Examples before each question.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many questions a task.")
@click.option("--batch-size", type=click.IntRange(min=1), default=16, help="Requests at once.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of examples and of sampling.")
@click.option("--device", type=_DEVICE, default="auto", help="Where to compute; auto takes a GPU.")
@click.option("--output", type=_FILE, help="Write everything to this JSON file.")
@click.option("--experiment", default="seqsuite", help="MLflow experiment to look in, if MODEL is a run.")
def evaluate(source: str, tasks: str, output: Path | None, experiment: str, **options: Any) -> None:
    """Evaluate a MODEL of text on tasks of the lm-evaluation-harness (needs the extra eval).

    MODEL is a finished run of the task text, or "latest"; or a folder or a name on the Hugging Face hub, with
    a tokenizer.

    \b
    Examples:
      seqsuite eval latest --tasks my_task.yaml
      seqsuite eval text-mamba-cpu-seed0 --tasks lambada_openai,wikitext --limit 100
      seqsuite eval state-spaces/mamba-130m --tokenizer EleutherAI/gpt-neox-20b --tasks lambada_openai
    """
    require_address_space()
    from seqsuite.commands.eval import EvalOptions, evaluate_model

    evaluate_model(source, experiment, EvalOptions(tasks.split(","), **options), output)


for command in (results, reproduce, report, scorecard, inspect_runs):
    main.add_command(command)

_BENCHMARKS = ["scan", "conv", "ssd", "block", "decode", "generation", "zoo", "complexity"]
_BENCHMARKS += ["tracking", "executors", "data", "host"]


@main.command()
@click.argument("what", type=click.Choice(_BENCHMARKS))
@click.option("--shape", "shapes", multiple=True, help="Sizes in place of the usual ones; may be repeated.")
@click.option("--sweep", is_flag=True, help="scan: sweep lengths; without --shape, only that.")
@click.option("--peers", help="Names of peers, by commas: only these beside ours.")
@click.option("--repeats", type=click.IntRange(min=1), help="Samples of each peer.  [default: 7]")
@click.option("--threads", help="Numbers of threads, by commas.  [default: all cores]")
@click.option(
    "--allocator",
    type=click.Choice(["default", "tuned", "both"]),
    default="default",
    help="tuned: glibc keeps freed memory.",
)
@click.option(
    "--limit", type=click.FloatRange(min=0, min_open=True), help="Leave out calls over this many seconds."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to run.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", help="Of sequences.")
@FORMAT
@figure_options
@click.option("--quick", is_flag=True, help="Tiny sizes, in seconds: only to see that it works.")
def bench(
    what: str,
    shapes: tuple[str, ...],
    sweep: bool,
    peers: str | None,
    repeats: int | None,
    threads: str | None,
    allocator: str,
    limit: float | None,
    device: str,
    dtype: str,
    style: str,
    figure: PictureFile | None,
    quick: bool,
) -> None:
    """Time a kernel or a model beside its peers, after checking each against float64.

    \b
    WHAT is one of
      scan       the selective scan, its growth with length, and the machine's floor (shape B,L,D,N)
      conv       the short causal convolution (shape B,L,D,K)
      ssd        Mamba-2's scan, in heads of 64 channels (shape B,L,D,N)
      block      a train step of a two-layer Mamba language model (shape B,L,d_model)
      decode     generating, one token at a time (shape d_model)
      generation memory and speed as the text grows (shape tokens; peers are models)
      zoo        training and generating with every named model (shape B,L,d_model)
      complexity exponents of time and memory by length (shape L; peers are models)
      tracking   what the journal, MLflow and checkpoints cost a small model's training
      executors  what starting a cell costs each run.executor, and what two at a time gain
      data       how fast tasks make batches, and how long models wait for them (peers: models)
      host       what a call of each GPU kernel costs the host, and launches: needs no GPU

    All peers take turns in one process; ratios to ours are what counts. Peers that are not installed
    (pip install -e '.[bench]') are listed as such. What was found is a run of MLflow's experiment
    seqsuite-bench too, unless it was --quick.

    \b
    Examples:
      seqsuite bench scan
      seqsuite bench scan --shape 8,1024,512,16 --peers mambapy,compiled-chunks --threads 1,2
      seqsuite bench block --format md --figure block.png
    """
    from seqsuite.commands.bench import run_benchmark

    run_benchmark(
        what,
        shapes=shapes,
        sweep=sweep,
        peers=peers,
        repeats=repeats,
        threads=threads,
        allocator=allocator,
        limit=limit,
        device=device,
        dtype=dtype,
        style=style,
        figure=figure,
        quick=quick,
    )


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=5000, help="Port to serve on.")
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@click.option(
    "--experiment", help="MLflow experiment to open; by default seqsuite, or else the latest that there is."
)
def ui(port: int, browser: bool, experiment: str | None) -> None:
    """Open MLflow's pages on the result table; stop with Ctrl-C."""
    from seqsuite.results.ui import launch

    launch(port, browser, experiment=experiment)


@main.command()
@click.argument("folder", type=_FOLDER, default=Path("runs"))
def sync(folder: Path) -> None:
    """Send to MLflow what runs could not: those with --offline, and those whose server was away.

    FOLDER holds the folders of cells in progress (run.output). Finished cells that are sent are deleted from
    it; interrupted ones stay, and go on with the same `seqsuite run`.

    \b
    Examples:
      seqsuite sync
      MLFLOW_TRACKING_URI=http://server:5000 seqsuite sync
    """
    from seqsuite.commands.sync import sync_runs

    sys.exit(sync_runs(folder))


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


main.add_command(data)
