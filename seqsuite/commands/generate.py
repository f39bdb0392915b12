"""``seqsuite generate``: what a trained model makes of a prompt."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from seqsuite.devices import Device, choose_device
from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.evaluation.tokenizers import TextCodec, tokenizer_for
from seqsuite.experiments.interruption import deferred_interrupts
from seqsuite.experiments.sources import has_sample, open_source
from seqsuite.models.formats import native
from seqsuite.models.formats.files import read_description
from seqsuite.models.generation import Generation, check_weights
from seqsuite.models.pretrained import from_pretrained
from seqsuite.models.sampling import Sampling
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.registry import describe_error
from seqsuite.report.outputs import check_output
from seqsuite.tasks.codecs.base import Codec, TokenIds

T = TypeVar("T")

INTERRUPTED = 130  # what shells report of a command that SIGINT ended

_PREVIEW = 400  # tokens to show of what is not streamed
_STREAMED = ("byte", "base")  # units whose tokens can be shown as they come
_UNFINISHED = "\ufffd"  # what the first bytes of a character look like before the last has come
_LONGEST_CHARACTER = 4  # bytes of UTF-8


@dataclass(frozen=True)
class Request:
    """What to generate.

    Attributes:
        length: Tokens after each prompt.
        sampling: Values of :class:`~seqsuite.models.sampling.Sampling`; a resumed state has its own.
        seed: Seed of the first prompt's sequence.
        prompt: Prompts as text.
        prompt_file: Prompts in files; the model's own prompt is taken if there is none of either.
        output: File to write; several prompts' files are numbered.
        stream: Whether to show tokens as they come; ``None`` does if a terminal watches.
        device: Where to compute.
        tokenizer: Folder or hub name of a tokenizer, for a model that is no run.
        resume_state: Saved state to go on from.
        save_state: File to write the state to at the end.
    """

    length: int
    sampling: Mapping[str, Any]
    seed: int = 0
    prompt: Sequence[str] = ()
    prompt_file: Sequence[Path] = ()
    output: Path | None = None
    stream: bool | None = None
    device: Device = "auto"
    tokenizer: str | None = None
    resume_state: Path | None = None
    save_state: Path | None = None


@dataclass(frozen=True)
class _Speaker:
    """A model and what it speaks.

    Attributes:
        model: The model.
        codec: What its tokens mean.
        prompt: What it goes on from if nothing is said, (L,).
        streamed: Whether its tokens can be shown as they come.
        name: What to call it.
        identity: What tells it from others.
    """

    model: LanguageModel
    codec: Codec
    prompt: TokenIds
    streamed: bool
    name: str
    identity: str


class _Times:
    """When steps were done: the first, which includes the prompt, apart from the others."""

    def __init__(self) -> None:
        self.count, self.started = 0, time.perf_counter()
        self.first = self.last = self.started

    def tick(self) -> None:
        """Note that a step is done."""
        self.count, self.last = self.count + 1, time.perf_counter()
        if self.count == 1:
            self.first = self.last

    def summary(self, batch_size: int) -> str:
        """Return how long the first step took, and how fast the others were."""
        first = f"{self.count} new tokens each: the first after {self.first - self.started:.2f} s"
        if self.count < 2:
            return first
        speed = (self.count - 1) * batch_size / (self.last - self.first)
        return f"{first}, then {speed:,.0f} tokens/s"


def generate_samples(source: str, experiment: str, request: Request) -> int:
    """Generate with the model that ``source`` stands for; show what it says and write files.

    Returns:
        Exit status: 130 after Ctrl-C, which keeps what there is.

    Raises:
        UserError: if there is no such model, its task has nothing to generate, it cannot take so long a
            sequence, or a file cannot be read or written.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    device = choose_device(request.device, "--device cuda")
    check_output("--output", request.output)
    check_output("--save-state", request.save_state)
    speaker = _load(source, experiment, request, device)
    output = _output(speaker, request)
    generation, samples = _begin(speaker, request)
    _check_length(generation, request.length)
    before, times = len(samples[0]), _Times()
    wanted = console.is_terminal if request.stream is None else request.stream
    streaming = wanted and speaker.streamed and len(samples) == 1
    if streaming:
        made = stream_tokens(speaker.codec, samples[0], generation, request.length)
    else:
        made = _watched(console, generation, request.length)
    for tokens in made:
        times.tick()
        for sample, token in zip(samples, tokens, strict=True):
            sample.append(token)
    for path, sample in zip(_numbered(output, len(samples)), samples, strict=True):
        _write(speaker.codec, sample, path)
        if not streaming:
            console.print(speaker.codec.preview(sample, _PREVIEW), markup=False)
        console.print(f"{len(sample)} tokens from {speaker.name}: {path}", markup=False)
    console.print(times.summary(len(samples)))
    if request.save_state is not None:
        generation.save(request.save_state, model_id=speaker.identity)
        again = f"seqsuite generate {source} --resume-state {request.save_state}"
        console.print(f"Go on with: {again}", markup=False)
    return 0 if len(samples[0]) == before + request.length else INTERRUPTED


def _load(source: str, experiment: str, request: Request, device: torch.device) -> _Speaker:
    with open_source(source, experiment, has_sample, "is of a task that generates") as found:
        if "task" in native.settings_of(read_description(found.folder)):
            model, config = load_for_inference(found.folder)
            task = config.make_task()
            if task.codec is None and isinstance(model, LanguageModel):
                raise UserError(
                    f"The task {config.task.name!r} has no codec, which would turn tokens into something to "
                    "read: nothing to generate."
                )
            if task.codec is None or not isinstance(model, LanguageModel):
                raise UserError(
                    f"The task {config.task.name!r} asks for answers, not for more of the same: "
                    "nothing to generate."
                )
            streamed = task.unit in _STREAMED
            prompt = task.prompt()
            return _Speaker(model.to(device), task.codec, prompt, streamed, found.name, found.identity)
        language_model = from_pretrained(found.folder).to(device)
        codec = TextCodec(tokenizer_for(found.folder, request.tokenizer))
        return _Speaker(language_model, codec, codec.prompt(), True, found.name, found.identity)


def _output(speaker: _Speaker, request: Request) -> Path:
    """Return the file to write."""
    part = "" if request.resume_state is None else "-continued"
    output = request.output or Path(f"{speaker.name}{part}{speaker.codec.suffix}")
    if output.suffix != speaker.codec.suffix:
        raise UserError(
            f"--output {output} does not fit: {speaker.name} writes {speaker.codec.suffix} files."
        )
    if request.output is None:
        check_output("--output", output)
    return output


def _begin(speaker: _Speaker, request: Request) -> tuple[Generation, list[list[int]]]:
    """Return the generation, and the tokens that each sample begins with."""
    model = speaker.model
    check_weights(model)
    if request.resume_state is not None:
        generation = Generation.load(request.resume_state, model, model_id=speaker.identity)
        return generation, [[] for _ in range(generation.batch_size)]
    samples = _prompts(speaker, request)
    begun = [torch.tensor(tokens) for tokens in samples]
    return Generation(model, begun, Sampling(**request.sampling), seed=request.seed), samples


def _prompts(speaker: _Speaker, request: Request) -> list[list[int]]:
    """Return the token ids of each prompt."""
    written = [(repr(text), _encoded(repr(text), speaker.codec.encode, text)) for text in request.prompt]
    read = [(str(file), _encoded(str(file), speaker.codec.read, file)) for file in request.prompt_file]
    for name, tokens in written + read:
        if not len(tokens):
            raise UserError(f"The prompt {name} is empty: give it one token at least.")
    return [tokens.tolist() for _, tokens in written + read] or [speaker.prompt.tolist()]


def _encoded(name: str, encode: Callable[[T], TokenIds], prompt: T) -> TokenIds:
    """Return a prompt's tokens (L,); a codec of a plug-in may fail in its own ways."""
    try:
        return encode(prompt)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"The prompt {name} cannot be encoded: {describe_error(error)}.") from error


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


def stream_tokens(
    codec: Codec, prompt: list[int], generation: Generation, length: int
) -> Iterator[list[int]]:
    """Show the prompt, and then each token as it comes, but no character before all its bytes are there."""
    sys.stdout.write(codec.decode(prompt))
    held: list[int] = []
    for tokens in _interruptible(generation, length):
        yield tokens
        held += tokens
        text = codec.decode(held)
        if not text.endswith(_UNFINISHED) or len(held) >= _LONGEST_CHARACTER:
            sys.stdout.write(text)
            held = []
        sys.stdout.flush()
    sys.stdout.write(codec.decode(held) + "\n")


def _numbered(output: Path, count: int) -> list[Path]:
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def _write(codec: Codec, sample: list[int], path: Path) -> None:
    try:
        codec.write(sample, path)
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
