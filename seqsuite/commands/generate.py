"""``seqsuite generate``: a sample from a trained model."""

import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track

from seqsuite.commands.sources import find_run
from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint import load_for_inference
from seqsuite.experiments.sampling import sample_tokens
from seqsuite.experiments.tracking import open_store
from seqsuite.models.backbone import LanguageModel

_PREVIEW = 400  # tokens to show


def generate_sample(
    name: str, experiment: str, *, length: int, temperature: float, seed: int, output: Path | None
) -> None:
    """Generate ``length`` tokens with a finished run's model, write them to a file and show the beginning.

    Raises:
        UserError: if the run is unknown or has no model, the task has nothing to generate, the model cannot
            take so long a sequence, or the file cannot be written.
    """
    console = Console(highlight=False)
    store = open_store(experiment, create=False)
    found = find_run(store, name)
    with tempfile.TemporaryDirectory() as folder:
        model, config = load_for_inference(store.model_folder(found.run_id, Path(folder)))
    task = config.make_task()
    suffix = task.spec.sample_suffix
    if suffix is None:
        raise UserError(
            f"The task {config.task.name!r} asks for answers, not for more of the same: nothing to generate."
        )
    output = output or Path(f"{found.name}{suffix}")
    if output.suffix != suffix:
        raise UserError(
            f"--output {output} does not fit: the task {config.task.name!r} writes {suffix} files."
        )
    _check_length(model, len(task.prompt()), length)
    tokens = sample_tokens(model, task, length, temperature=temperature, seed=seed)
    total = length + len(task.prompt())
    shown = track(tokens, f"generating {length} tokens", total=total, console=console, transient=True)
    sample = list(shown)
    try:
        task.render(sample, output)
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from error
    text = task.decode(sample[:_PREVIEW])
    console.print(text + ("…" if len(sample) > _PREVIEW else ""), markup=False, soft_wrap=True)
    console.print(f"{len(sample)} tokens, prompt included, from {found.name} ({found.run_id[:8]}): {output}")


def _check_length(model: LanguageModel, prompt: int, length: int) -> None:
    """Refuse what learned positions do not reach; the last token is generated but never fed."""
    limit = model.longest_input
    if limit is not None and prompt + length - 1 > limit:
        raise UserError(
            f"--length {length} is too long: this model has learned positions for {limit} tokens and can add "
            f"{limit - prompt + 1} to its prompt of {prompt}."
        )
