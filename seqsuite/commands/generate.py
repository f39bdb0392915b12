"""``seqsuite generate``: what a trained model makes of a prompt."""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from seqsuite.commands.sources import find_run
from seqsuite.errors import UserError
from seqsuite.experiments.cell import Device, choose_device
from seqsuite.experiments.checkpoint import load_for_inference
from seqsuite.experiments.interruption import deferred_interrupts
from seqsuite.experiments.tracking import open_store
from seqsuite.models.generation import Generation
from seqsuite.models.sampling import Sampling
from seqsuite.tasks.base import Task

INTERRUPTED = 130  # what shells report of a command that SIGINT ended

_PREVIEW = 400  # tokens to show of what is not streamed
_STREAMED = ("byte", "base")  # units whose tokens can be shown as they come
_UNFINISHED = "\ufffd"  # what the first bytes of a character look like before the last has come
_LONGEST_CHARACTER = 4  # bytes of UTF-8


@dataclass(frozen=True)
class Prompts:
    """What to go on from; the task's own prompt if both are empty.

    Attributes:
        texts: Prompts in the task's letters.
        files: Files in the task's format.
    """

    texts: Sequence[str] = ()
    files: Sequence[Path] = ()

    def tokens(self, task: Task) -> list[list[int]]:
        """Return the token ids of each prompt.

        Raises:
            UserError: if one is not of the task's kind, or empty.
        """
        written = [(repr(text), task.encode(text)) for text in self.texts]
        read = [(str(file), task.read(file)) for file in self.files]
        for name, tokens in written + read:
            if not len(tokens):
                raise UserError(f"The prompt {name} is empty: give it one token at least.")
        return [tokens.tolist() for _, tokens in written + read] or [task.prompt().tolist()]


@dataclass(frozen=True)
class States:
    """Files with the state of a generation: to begin from, and to write at the end."""

    resume: Path | None = None
    save: Path | None = None


def generate_samples(
    name: str,
    experiment: str,
    *,
    length: int,
    sampling: Mapping[str, Any],
    seed: int,
    prompts: Prompts,
    states: States,
    output: Path | None,
    stream: bool | None,
    device: Device,
) -> int:
    """Generate ``length`` tokens after each prompt with a finished run's model; show them and write files.

    Args:
        name: The run.
        experiment: MLflow experiment that it is in.
        length: Tokens to generate after each prompt.
        sampling: Values of :class:`~seqsuite.models.sampling.Sampling`; a resumed state has its own.
        seed: Seed of the first prompt's sequence.
        prompts: What to go on from.
        states: Saved states.
        output: File to write; several prompts' files are numbered.
        stream: Whether to show tokens as they come; ``None`` does if a terminal watches.
        device: Where to compute.

    Returns:
        Exit status: 130 after Ctrl-C, which keeps what there is.

    Raises:
        UserError: if the run is unknown or has no model, the task has nothing to generate, the model cannot
            take so long a sequence, or a file cannot be read or written.
    """
    console = Console(highlight=False, soft_wrap=True)
    target = choose_device(device, "--device cuda")
    store = open_store(experiment, create=False)
    found = find_run(store, name)
    with tempfile.TemporaryDirectory() as folder:
        model, config = load_for_inference(store.model_folder(found.run_id, Path(folder)))
    model, task = model.to(target), config.make_task()
    suffix = task.spec.sample_suffix
    if suffix is None:
        raise UserError(
            f"The task {config.task.name!r} asks for answers, not for more of the same: nothing to generate."
        )
    output = output or Path(f"{found.name}{'' if states.resume is None else '-continued'}{suffix}")
    if output.suffix != suffix:
        raise UserError(
            f"--output {output} does not fit: the task {config.task.name!r} writes {suffix} files."
        )
    if states.resume is None:
        samples = prompts.tokens(task)
        begun = [torch.tensor(tokens) for tokens in samples]
        generation = Generation(model, begun, Sampling(**sampling), seed=seed)
    else:
        generation = Generation.load(states.resume, model, model_id=found.run_id)
        samples = [[] for _ in range(generation.batch_size)]
    _check_length(generation, length)
    started, before = time.perf_counter(), len(samples[0])
    wanted = console.is_terminal if stream is None else stream
    streaming = wanted and task.spec.unit in _STREAMED and len(samples) == 1
    if streaming:
        made = _streamed(task, samples[0], generation, length)
    else:
        made = _watched(console, generation, length)
    for tokens in made:
        for sample, token in zip(samples, tokens, strict=True):
            sample.append(token)
    seconds, count = time.perf_counter() - started, len(samples[0]) - before
    for path, sample in zip(_numbered(output, len(samples)), samples, strict=True):
        _write(task, sample, path)
        if not streaming:
            more = "…" if len(sample) > _PREVIEW else ""
            console.print(task.decode(sample[:_PREVIEW]) + more, markup=False)
        console.print(f"{len(sample)} tokens from {found.name} ({found.run_id[:8]}): {path}", markup=False)
    speed = count * len(samples) / seconds
    console.print(f"{count} new tokens each in {seconds:.1f} s, prompt included: {speed:,.0f} tokens/s")
    if states.save is not None:
        generation.save(states.save, model_id=found.run_id)
        console.print(f"Go on with: seqsuite generate {name} --resume-state {states.save}", markup=False)
    return 0 if count == length else INTERRUPTED


def _interruptible(generation: Generation, length: int) -> Iterator[list[int]]:
    """Yield each step's tokens, and end early, after a whole step, on Ctrl-C."""
    with deferred_interrupts() as interruption:
        for tokens in islice(generation, length):
            yield tokens.tolist()
            if interruption.requested:
                return


def _watched(console: Console, generation: Generation, length: int) -> Iterator[list[int]]:
    """Show a progress bar, if a terminal watches."""
    steps = _interruptible(generation, length)
    yield from track(steps, f"generating {length} tokens", total=length, console=console, transient=True)


def _streamed(task: Task, prompt: list[int], generation: Generation, length: int) -> Iterator[list[int]]:
    """Show the prompt, and then each token as it comes, but no character before all its bytes are there."""
    sys.stdout.write(task.decode(prompt))
    held: list[int] = []
    for tokens in _interruptible(generation, length):
        yield tokens
        held += tokens
        text = task.decode(held)
        if not text.endswith(_UNFINISHED) or len(held) >= _LONGEST_CHARACTER:
            sys.stdout.write(text)
            held = []
        sys.stdout.flush()
    sys.stdout.write(task.decode(held) + "\n")


def _numbered(output: Path, count: int) -> list[Path]:
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def _write(task: Task, sample: list[int], path: Path) -> None:
    try:
        task.render(sample, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error


def _check_length(generation: Generation, length: int) -> None:
    """Refuse what learned positions do not reach; the last token is generated but never fed."""
    limit, before = generation.model.longest_input, generation.longest
    if limit is not None and before + length - 1 > limit:
        raise UserError(
            f"--length {length} is too long: this model has learned positions for {limit} tokens and can add "
            f"{max(limit - before + 1, 0)} to the {before} before."
        )
