"""``seqsuite inspect``: what models let in, keep and would say at each token of an input, as a page."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from seqsuite import api
from seqsuite.commands.console import make_console
from seqsuite.commands.progress import ProgressDisplay
from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.sources import Source, open_source
from seqsuite.experiments.tracking import schema
from seqsuite.models.description import describe
from seqsuite.models.formats import native
from seqsuite.models.formats.files import read_description
from seqsuite.models.portable import MOST_PARAMETERS, portable
from seqsuite.models.sequence_model import SequenceModel
from seqsuite.report.outputs import check_output
from seqsuite.report.pictures import SUFFIXES
from seqsuite.results.departures import model_label
from seqsuite.results.inspection_page import write_page
from seqsuite.tasks.base import Task
from seqsuite.tasks.codecs.audio import AudioCodec
from seqsuite.tasks.codecs.base import Codec
from seqsuite.tasks.codecs.bytes import BytesCodec
from seqsuite.tasks.codecs.dna import DNACodec
from seqsuite.tasks.codecs.words import WordsCodec
from seqsuite.tasks.hamburger import Hamburger
from seqsuite.tasks.sources.fasta import ALPHABET
from seqsuite.wording import counted

LONGEST = 256
"""Tokens that a page shows at most: its matrices have the square of their number."""
LONGEST_AUDIO = 4096
"""Samples that a page shows at most: a quarter of a second, without matrices if above :data:`LONGEST`."""

EXAMPLE, EXAMPLE_AUDIO = 48, 256
"""Tokens of a test row that are shown where no input was given."""

_DNA_ROW = 60
_ALIKE = ("task=hamburger", "scale=cpu", "seed=2", "run.threads=1")
"""One thread: with as many as a machine has, sums are rounded otherwise, and the pictures differ a little."""
_ONLY_STEP = ("model.mixer.selective_B=false", "model.mixer.selective_C=false", "model.block.d_conv=2")
DEMONSTRATION = ((*_ALIKE, "model=mamba", *_ONLY_STEP), (*_ALIKE, "model=s4d"))
"""The grids of what is shown without a run.

Its Mamba selects by the step size alone (Table 7 of the paper), after a convolution of two taps, so that what
it selects shows in Δ, at the word itself; where B and C are selective, too, they share that work.
"""
_ARTIFACTS = "inspection"


@dataclass(frozen=True)
class Shown:
    """A model to show: where it is from, itself, and the task that says what its tokens mean."""

    source: Source
    model: SequenceModel
    task: Task
    task_name: str

    @property
    def codec(self) -> Codec:
        """The task's codec, which :func:`inspect_to_file` has seen."""
        assert self.task.codec is not None
        return self.task.codec


def inspect_to_file(
    sources: Sequence[str], texts: Sequence[str], output: Path, experiment: str, *, times: bool
) -> None:
    """Write the page, or a picture where the suffix of ``output`` is that of one, and keep it with the runs.

    Args:
        sources: Finished runs or folders; none stands for the demonstration, which is trained if it is not.
        texts: The inputs, which all of them read alike; of audio, paths of files. None stands for the
            beginning of the task's first test row, or of the hamburger for its sentence.
        output: The file.
        experiment: MLflow experiment that the runs are in.
        times: Whether to time the scan for the page's third tab.

    Raises:
        UserError: if a run cannot be shown, or not with these inputs, or the file cannot be written.
    """
    _check_output(output)
    if any(not text.strip() for text in texts):
        raise UserError("--input is empty: give it a text, as the run's task reads it.")
    console = make_console()
    with ExitStack() as stack:
        names = sources or _demonstration(texts, experiment, console)
        stack.enter_context(console.status("Running the models and drawing"))
        opened = [_open(stack.enter_context(open_source(name, experiment))) for name in names]
        _check_alike(opened)
        data = _page_data(opened, texts)
        if output.suffix.lower() in SUFFIXES:
            from seqsuite.results.inspection_figure import write_figure

            write_figure(data, output)
        else:
            write_page({**data, "scan": _times() if times else None}, output)
        kept = _keep(opened, output)
    lengths = ", ".join(str(len(one["tokens"])) for one in data["inputs"])
    beside = " side by side" if len(opened) > 1 else ""
    console.print(f"{output}: {counted(len(opened), 'model')}{beside}, inputs of {lengths} tokens{kept}")


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in (*SUFFIXES, ".html", ".htm"):
        raise UserError(f"--output {output} must end in .html for a page, or {', '.join(SUFFIXES)}.")
    check_output("--output", output)


def _demonstration(texts: Sequence[str], experiment: str, console: Console) -> list[str]:
    """Return the runs of the hamburger's models, trained now where they are not.

    Raises:
        UserError: if they cannot be trained, or could not read the texts.
    """
    for text in texts:
        Hamburger(seed=0).words.encode(text)  # before any training, not after it
    console.print("Without a RUN: the demonstration, a minute or two if new.")
    results = []
    for settings in DEMONSTRATION:
        console.print(f"$ seqsuite run {' '.join(settings)}", soft_wrap=True)
        results += api.run(
            *settings,
            f"run.experiment={experiment}",
            display=lambda config, task, start: ProgressDisplay(console, config, start),
        )
    for result in results:
        if result.outcome not in ("finished", "skipped"):
            raise UserError(f"The demonstration could not be trained ({result.outcome}): {result.message}")
    return [result.run_id for result in results]


def _open(source: Source) -> Shown:
    """Return a source's model and task.

    Raises:
        UserError: if it is not of a task whose input can be given as text or audio.
    """
    if "task" not in native.settings_of(read_description(source.folder)):
        raise UserError(f"{source.name} is not a run of a task: what its tokens mean is not known.")
    model, config = load_for_inference(source.folder)
    task = config.make_task()
    if task.codec is None or task.io.vocab_size is None:
        raise UserError(
            f"{source.name} is of the task {config.task.name!r}, whose input is neither text nor DNA nor "
            "audio: inspect a run of another."
        )
    return Shown(source, model, task, config.task.name)


def _check_alike(opened: Sequence[Shown]) -> None:
    first = opened[0]
    for other in opened[1:]:
        if other.task_name != first.task_name:
            raise UserError(
                f"{first.source.name} is of the task {first.task_name!r} and {other.source.name} of "
                f"{other.task_name!r}: side by side they need the same."
            )


def _page_data(opened: Sequence[Shown], texts: Sequence[str]) -> dict[str, Any]:
    """Return what :func:`seqsuite.results.inspection_page.write_page` and the figure show."""
    first = opened[0]
    given = [(text, [_encode(shown, text) for shown in opened]) for text in texts] or [_example(opened)]
    inputs = []
    for text, of_model in given:
        for shown, ids in zip(opened, of_model, strict=True):
            if not torch.equal(ids, of_model[0]):
                raise UserError(
                    f"{shown.source.name} reads the input as other tokens than {first.source.name}: "
                    "show it by itself."
                )
        inputs.append(
            {
                "text": text,
                "tokens": [_label(first.codec, token) for token in of_model[0].tolist()],
                "wave": _wave(first.codec, of_model[0]) if isinstance(first.codec, AudioCodec) else None,
                "models": [describe(shown.model, of_model[0], _namer(shown.task)) for shown in opened],
            }
        )
    reader = _reader(first.codec)
    return {
        "unit": first.task.unit,
        "row": _DNA_ROW if isinstance(first.codec, DNACodec) else 0,
        "rate": first.codec.tokens_per_second if isinstance(first.codec, AudioCodec) else None,
        "reader": reader,
        "inputs": inputs,
        "models": [_model(shown, live=reader is not None) for shown in opened],
        "why": _why_not_live(opened, reader),
    }


def _encode(shown: Shown, text: str) -> Tensor:
    """Return an input's tokens.

    Raises:
        UserError: if it has none, or more than the page or the model takes.
    """
    is_audio = isinstance(shown.codec, AudioCodec)
    ids = torch.from_numpy(shown.codec.read(Path(text)) if is_audio else shown.codec.encode(text))
    return _checked(shown, ids[:LONGEST_AUDIO] if is_audio else ids)


def _example(opened: Sequence[Shown]) -> tuple[str, list[Tensor]]:
    """Return what is shown to who gave no input, what it is called and its tokens for each model.

    It is the beginning of the task's first test row, as far as all models read, or the hamburger's sentence.
    """
    task, codec = opened[0].task, opened[0].codec
    is_audio = isinstance(codec, AudioCodec)
    if isinstance(task, Hamburger):
        ids = torch.from_numpy(task.prompt())
    else:
        length = EXAMPLE_AUDIO if is_audio else EXAMPLE
        length = min(length, *(shown.model.longest_input or length for shown in opened))
        row = task.eval_batch(task.eval_sets("test")[0], range(1)).inputs[0]
        ids = torch.from_numpy(row[:length])
    text = "the first test row" if is_audio else codec.decode(ids.tolist())
    return text, [_checked(shown, ids) for shown in opened]


def _checked(shown: Shown, ids: Tensor) -> Tensor:
    """Return an input's tokens, of which there is at least one.

    Raises:
        UserError: if there are more than the page or the model takes.
    """
    is_audio = isinstance(shown.codec, AudioCodec)
    if not 1 <= len(ids) <= (LONGEST_AUDIO if is_audio else LONGEST):
        raise UserError(f"--input has {len(ids)} tokens: give it 1 to {LONGEST}.")
    if shown.model.longest_input is not None and len(ids) > shown.model.longest_input:
        raise UserError(
            f"--input has {len(ids)} tokens, and {shown.source.name} reads {shown.model.longest_input}: "
            "shorten it."
        )
    return ids


def _model(shown: Shown, *, live: bool) -> dict[str, Any]:
    described = portable(shown.model) if live else None
    outputs = shown.model.head.out_features
    return {
        "name": shown.source.name,
        "label": _label_of(shown),
        "parameters": shown.model.num_parameters(),
        "score": _score(shown),
        "longest": min(LONGEST, shown.model.longest_input or LONGEST),
        "live": described,
        "names": None if described is None else [_namer(shown.task)(place) for place in range(outputs)],
    }


def _label_of(shown: Shown) -> str | None:
    """Return a run's model with its departures; ``None`` where it has none, or of what is not a run."""
    store = shown.source.store
    params = {} if store is None else store.get(shown.source.identity).params
    label = model_label(params)
    return label if label != params.get("model.name", label) else None


def _score(shown: Shown) -> str | None:
    """Return what a run reached on its test set, in words; ``None`` of what is not a run."""
    store, metric = shown.source.store, shown.task.metrics[0]
    if store is None:
        return None
    value = store.get(shown.source.identity).metrics.get(schema.TEST + metric.name)
    if value is None:
        return None
    return f"test {metric.name.replace('_', ' ')} {value:.{metric.digits}f} {metric.unit}".rstrip()


def _why_not_live(opened: Sequence[Shown], reader: dict[str, Any] | None) -> str:
    """Return why the page does not run these models itself; empty if it does."""
    if reader is None:
        return "Inputs were chosen when the page was made: the page cannot read what you type as tokens."
    fixed = [shown.source.name for shown in opened if portable(shown.model) is None]
    if not fixed:
        return ""
    return (
        f"Inputs were chosen when the page was made: {', '.join(fixed)} has more than {MOST_PARAMETERS:,} "
        "parameters, or layers other than S6, S4, S4D and attention."
    )


def _reader(codec: Codec) -> dict[str, Any] | None:
    """Return how the page reads a sentence; ``None`` if it cannot."""
    if isinstance(codec, WordsCodec):
        return {"kind": "words", "tokens": codec.words, "labels": codec.words, "end": codec.end}
    if isinstance(codec, DNACodec):
        return {"kind": "letters", "tokens": list(ALPHABET), "labels": list(ALPHABET)}
    if isinstance(codec, BytesCodec):
        return {"kind": "bytes", "tokens": [], "labels": [_label(codec, byte) for byte in range(256)]}
    return None


def _wave(codec: AudioCodec, ids: Tensor) -> list[float]:
    """Return the sample that each token is of."""
    return [round(sample, 5) for sample in codec.sample_of_each(ids.numpy()).tolist()]


def _namer(task: Task) -> Callable[[int], str]:
    """Return what a task's outputs are called: classes, labels or tokens."""

    def name(place: int) -> str:
        if task.class_names:
            return task.class_names[place]
        if task.io.n_classes is not None or task.io.n_labels is not None:
            return f"class {place}"
        assert task.codec is not None
        return _label(task.codec, place)

    return name


def _label(codec: Codec, token: int) -> str:
    """Return a token as text, or in hexadecimal if by itself it is none; a sample as its level."""
    if isinstance(codec, AudioCodec):
        return f"level {token}"
    text = codec.decode([token])
    return text if text.isprintable() and "\ufffd" not in text else f"x{token:02x}"


def _times() -> dict[str, Any]:
    from seqsuite.bench.scan_ways import time_ways

    return time_ways()


def _keep(opened: Sequence[Shown], output: Path) -> str:
    """Store the file with the runs that it shows, and return what to say of it."""
    runs = [shown.source for shown in opened if shown.source.store is not None]
    try:
        for run in runs:
            assert run.store is not None
            run.store.artifact(run.identity, output, _ARTIFACTS)
    except UserError as error:
        return f"; not kept in MLflow: {error}"
    return f"; in MLflow with {'its run' if len(runs) == 1 else 'their runs'}, {_ARTIFACTS}/" if runs else ""
