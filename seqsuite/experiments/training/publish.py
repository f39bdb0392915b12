"""What a trained model is published with: test scores, weights, a sample in the task's own format."""

import logging
import os
import resource
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seqsuite.devices import peak_flops
from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.evaluation.judge import Judge
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.training.confusion import confusion_matrix, write_confusion
from seqsuite.experiments.training.objectives import objective_for
from seqsuite.experiments.training.placement import Single
from seqsuite.experiments.training.scores import evaluate, unmeasurable
from seqsuite.experiments.training.trainer import Trainer
from seqsuite.models.flops import training_flops
from seqsuite.models.formats.files import CONFIG, WEIGHTS
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.tasks.base import Split, Task
from seqsuite.tasks.checks import checked_scores
from seqsuite.tasks.codecs.base import Codec, TokenIds

log = logging.getLogger(__name__)

_PREVIEW = 60  # tokens of a sample to show
_KEPT = 8  # samples to keep of those that are generated to be measured


@dataclass(frozen=True)
class Published:
    """What became of a trained cell: its final metrics, and the beginning of its sample as text."""

    metrics: Mapping[str, float]
    sample: str


def publish(
    trainer: Trainer,
    config: CellConfig,
    title: str,
    journal: Journal,
    interruption: InterruptionFlag,
    judge: Judge | None = None,
) -> Published:
    """Test the best checkpoint, and journal its metrics, its weights, a sample and the last checkpoint.

    Args:
        trainer: The trainer, at its end.
        config: The cell.
        title: What to call the model.
        journal: Where to.
        interruption: Asked whether to stop.
        judge: What generated samples are scored by, where the task has it.

    Raises:
        Interrupted: if an interruption was requested meanwhile.
        UserError: if something cannot be written.
    """
    parts, progress = trainer.parts, trainer.progress
    best, last = parts.checkpoints.best(), parts.checkpoints.newest()
    if best is None or last is None:
        raise UserError(
            f"The best checkpoint of {config.title}, of step {progress.best_step}, is damaged or gone from "
            f"{parts.checkpoints.folder}: start afresh with --force."
        )
    model, _ = load_for_inference(best)
    model.to(parts.placement.device)
    test = evaluate(
        model,
        parts.task,
        "test",
        objective_for(parts.task, detailed=True),
        batch_size=config.train.eval_batch_size,
        placement=Single(parts.placement.device, config.train),
        stop=lambda: interruption.requested,
    )
    if test is None:
        raise Interrupted
    metrics = _final_metrics(trainer, test) | _baseline_metrics(parts.task)
    if parts.task.class_names:
        which = parts.task.eval_sets("test")[0]
        size, device = config.train.eval_batch_size, parts.placement.device
        counts = confusion_matrix(model, parts.task, which, batch_size=size, device=device)
        for path in write_confusion(counts, parts.task.class_names, journal.folder):
            journal.artifact(path)
    sample = ""
    if parts.task.codec is not None and isinstance(model, LanguageModel):
        tokens = write_sample(model, parts.task, config.run.sample_length, journal.folder)
        for path in sorted(journal.folder.glob("sample.*")):
            journal.artifact(path)
        sample = parts.task.codec.preview(tokens, _PREVIEW)
        metrics |= _measured_samples(model, parts.task, config, journal, judge, interruption)
    journal.metrics(metrics, progress.step)
    if progress.stopped:
        journal.tags({schema.TAG_STOPPED: progress.stopped})
    left_out = unmeasurable(model, parts.task, "test")
    if left_out:
        journal.tags({schema.TAG_NOT_MEASURED: ", ".join(which.name for which in left_out)})
    journal.model(_to_publish(best, parts.task.codec), name=title, params={"step": str(progress.best_step)})
    for path in sorted(path for path in last.rglob("*") if path.is_file()):
        journal.artifact(path, ("last" / path.relative_to(last).parent).as_posix())
    return Published(metrics, sample)


def write_sample(model: LanguageModel, task: Task, length: int, folder: Path, *, seed: int = 0) -> list[int]:
    """Write ``sample`` with at most ``length`` generated tokens, after the task's prompt, into ``folder``.

    It is shorter where the model has learned positions for fewer.

    Returns:
        The generated tokens, without the prompt.
    """
    assert task.codec is not None
    prompt = task.prompt()
    (tokens,) = _generated(model, prompt, 1, _length(model, task, length, prompt), seed)
    _write(task.codec, [*prompt.tolist(), *tokens.tolist()], folder, "sample")
    return [int(token) for token in tokens]


def _measured_samples(
    model: LanguageModel,
    task: Task,
    config: CellConfig,
    journal: Journal,
    judge: Judge | None,
    interruption: InterruptionFlag,
) -> dict[str, float]:
    """Generate what the task's metrics of samples and the judge measure; keep a few; return the metrics."""
    if not task.sample_metrics and judge is None:
        return {}
    assert task.codec is not None
    prompt = task.prompt()
    wanted = task.sample_length or task.io.seqlen
    length = _length(model, task, wanted, prompt)
    if length < wanted:
        log.warning(
            "%s: samples are measured at %d tokens, not %d: the model has learned positions for no more",
            config.title,
            length,
            wanted,
        )
    log.info("Generating %d samples of %d tokens, to measure them", task.sample_count, length)
    samples: list[TokenIds] = []
    while len(samples) < task.sample_count:
        count = min(config.train.eval_batch_size, task.sample_count - len(samples))
        samples += _generated(model, prompt, count, length, len(samples), interruption)
    whole = [np.concatenate([prompt, tokens]) for tokens in samples]
    found: dict[str, float] = {}
    for metric in task.sample_metrics:
        found |= checked_scores(task, metric, metric(whole, task))
    if judge is not None:
        found |= judge.scores(samples)
        folder = journal.folder / "samples"
        folder.mkdir(exist_ok=True)
        for number, tokens in enumerate(samples[:_KEPT]):
            _write(task.codec, tokens.tolist(), folder, f"{number:02d}")
        for path in sorted(folder.iterdir()):
            journal.artifact(path, "samples")
    return {schema.SAMPLE + name: float(value) for name, value in found.items()}


def _length(model: LanguageModel, task: Task, length: int, prompt: TokenIds) -> int:
    """Return how many tokens to generate after a prompt; learned positions may allow fewer."""
    length = task.sample_length or length
    # The last token is generated but never fed.
    return length if model.longest_input is None else min(length, model.longest_input - len(prompt) + 1)


def _generated(
    model: LanguageModel,
    prompt: TokenIds,
    count: int,
    length: int,
    seed: int,
    interruption: InterruptionFlag | None = None,
) -> list[TokenIds]:
    """Return so many generated sequences (length,), without the prompt; number b draws from ``seed + b``.

    Raises:
        Interrupted: if an interruption was requested meanwhile.
    """
    steps = []
    for tokens in generate(model, [torch.from_numpy(prompt)] * count, length, seed=seed):
        if interruption is not None and interruption.requested:
            raise Interrupted
        steps.append(tokens.cpu().numpy())
    return list(np.stack(steps, axis=1))


def _write(codec: Codec, tokens: list[int], folder: Path, name: str) -> None:
    """Write a sample, and beside it its picture and its copy as text, of what has one."""
    path = folder / f"{name}{codec.suffix}"
    codec.write(tokens, path)
    if codec.copied_as_text:
        # Its whole name is kept, so that the sample itself stays the one file that is called `name`.
        shutil.copyfile(path, path.with_name(f"{path.name}.txt"))
    codec.draw(tokens, folder / f"{name}.png")


def _final_metrics(trainer: Trainer, test: Mapping[str, float]) -> dict[str, float]:
    """Return the summary that a finished cell is compared by."""
    progress, metric = trainer.progress, trainer.parts.task.metrics[0]
    assert progress.best is not None
    return {
        **{schema.TEST + name: value for name, value in test.items()},
        schema.BEST + metric.name: progress.best,
        schema.BEST_STEP: float(progress.best_step),
        schema.PARAMETERS: float(trainer.parts.model.num_parameters()),
        schema.TRAIN_SECONDS: progress.seconds,
        schema.TOKENS_PER_SECOND: progress.tokens_per_second(),
        schema.INPUT_WAIT: progress.waited / max(progress.seconds, 1e-9),
        schema.PEAK_MEMORY: float(peak_memory(trainer.parts.placement.device)),
        **_throughput(trainer),
    }


def _throughput(trainer: Trainer) -> dict[str, float]:
    """Return what of the machine training used, in sequences as long as the task's."""
    parts, length = trainer.parts, trainer.parts.task.io.seqlen
    a_second = trainer.progress.tokens_per_second() * training_flops(parts.model, length) / length
    found = {schema.FLOPS_PER_SECOND: a_second}
    peak = peak_flops(parts.placement.device, trainer.config.precision)
    if peak is not None:
        found[schema.SHARE_OF_PEAK] = a_second / (peak * parts.placement.world)
    return found


def _baseline_metrics(task: Task) -> dict[str, float]:
    name = task.metrics[0].name
    prefixes: dict[Split, str] = {"test": schema.BASELINE, "validation": schema.BASELINE_VALIDATION}
    found = {}
    for split, prefix in prefixes.items():
        baselines = task.baselines(task.eval_sets(split)[0])
        if baselines:
            found[prefix + name] = baselines[0].value
        if split == "test":
            found |= {f"{prefix}{other.name}/{name}": other.value for other in baselines}
    return found


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that were in use at once: of the GPU's memory, or of the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _to_publish(checkpoint: Path, codec: Codec | None) -> Path:
    """Return a folder with what using the model takes, its tokenizer too, and nothing of its training."""
    folder = checkpoint.parent / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in (CONFIG, WEIGHTS):
        try:
            os.link(checkpoint / name, folder / name)
        except OSError:  # a file system without hard links
            shutil.copyfile(checkpoint / name, folder / name)
    if codec is not None:
        codec.save(folder)
    return folder
