"""What Python users call: the commands of the suite as functions, and its models as plain modules.

Training on tensors of one's own needs nothing of the suite but :func:`build`, which returns a
``torch.nn.Module``; ``docs/python.ipynb`` shows it in ten lines.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from seqsuite.errors import UserError

if TYPE_CHECKING:
    import torch

    from seqsuite.experiments.cell import CellResult, Host
    from seqsuite.experiments.config.schema import CellConfig
    from seqsuite.models.base import Inspected
    from seqsuite.models.sequence_model import LanguageModel, SequenceModel
    from seqsuite.results.table import Results
    from seqsuite.tasks.codecs.base import Codec


def run(
    *settings: str,
    force: bool = False,
    takeover: bool = False,
    offline: bool = False,
    retry_failed: bool = False,
    display: "Callable[..., Any] | None" = None,
    after_cell: "Callable[[CellResult], None] | None" = None,
) -> "list[CellResult]":
    """Train and evaluate the grid that settings span, as ``seqsuite run`` does, and return what became of it.

    Finished cells are not run again; others go on where they stopped.

    Args:
        settings: ``"key=value"``, as on the command line: ``run("task=dna", "model=mamba,s4", "seed=0..2")``.
        force: Whether to start afresh in any case.
        takeover: Whether to take cells over from processes that seem to be running them.
        offline: Whether to record to files only, for ``seqsuite sync`` to send later.
        retry_failed: Whether to run only the cells that failed or diverged before; what diverged starts
            afresh.
        display: Makes a progress display from a cell, its task and the step it starts at: a context manager
            that yields a :class:`~seqsuite.experiments.training.callbacks.Callback`. By default there is
            none.
        after_cell: Called after each cell.

    Returns:
        For each cell its outcome, its MLflow run, and its final metrics, such as ``"test/accuracy"``.

    Raises:
        UserError: if a setting is wrong, or no cell can run.
        Interrupted: after SIGINT, SIGTERM or SIGHUP; what was done is kept.
    """
    from seqsuite.experiments.config.grid import resolve_grid
    from seqsuite.experiments.config.overrides import expand_grid

    cells = resolve_grid(expand_grid(settings))
    return run_cells(
        cells,
        force=force,
        takeover=takeover,
        offline=offline,
        retry_failed=retry_failed,
        display=display,
        after_cell=after_cell,
    )


def run_cells(
    cells: "Sequence[CellConfig]",
    *,
    force: bool = False,
    takeover: bool = False,
    offline: bool = False,
    retry_failed: bool = False,
    display: "Callable[..., Any] | None" = None,
    after_cell: "Callable[[CellResult], None] | None" = None,
) -> "list[CellResult]":
    """Run cells that are resolved already; see :func:`run`."""
    from seqsuite.allocator import keep_freed_memory
    from seqsuite.experiments.afresh import begin_anew
    from seqsuite.experiments.grid import check_cells, failed_before, run_grid

    faults = check_cells(cells)
    keep_freed_memory()  # a step makes the tensors of the step before
    with _host(cells, display, takeover=takeover, offline=offline, retry=retry_failed) as host:
        whole = [cell for cell, fault in zip(cells, faults, strict=True) if fault is None]
        if retry_failed:
            cells = whole = failed_before(whole, host.store)
            faults = [None] * len(cells)
        if force:
            begin_anew(whole, takeover=takeover)
        return run_grid(cells, host, after_cell or (lambda result: None), faults)


def reproduce(study: str, *settings: str, scale: str = "cpu", **options: Any) -> "Results":
    """Run what is missing of a study, and return its finished runs beside the published numbers.

    Args:
        study: Name of a study, such as ``"table1"``, or the path of its ``.toml`` file.
        settings: ``"key=value"`` over those of its grids.
        scale: One of its scales: ``"smoke"``, ``"cpu"``, ``"gpu"`` or ``"paper"``.
        options: Those of :func:`run`: ``force``, ``takeover``, ``retry_failed``, ``display``, ``after_cell``.

    Raises:
        UserError: if there is no such study or scale, or no cell can run.
        Interrupted: after SIGINT, SIGTERM or SIGHUP; what was done is kept.
    """
    from seqsuite.experiments.tracking.reader import open_reader
    from seqsuite.results.collect import collect
    from seqsuite.results.studies import find_study
    from seqsuite.results.studies.plan import study_cells, study_reader

    name, found = find_study(study)
    cells = study_cells(name, found, scale, settings)
    run_cells(cells, **options)
    return collect(study_reader(found, open_reader(cells[0].run.experiment), cells), study=found)


def build(
    name: str, *, vocab_size: int, seqlen: int = 2048, seed: int | None = None, **settings: Any
) -> "LanguageModel":
    """Return a model of the zoo with fresh weights: token ids (B, L) to logits (B, L, V).

    Args:
        name: A model, such as ``"mamba"``; ``seqsuite list`` shows them.
        vocab_size: Vocabulary V.
        seqlen: Longest input, where a model has learned positions.
        seed: Seed of the weights; ``None`` draws them from torch's global generator as it is.
        settings: Those of ``model.*``: ``d_model=64``, ``n_layer=2``, ``size="130m"``,
            ``mixer={"name": "s4d", "d_state": 32}``.

    Raises:
        UserError: if a setting is wrong.
    """
    import torch

    from seqsuite.experiments.config.resolve import resolve_model
    from seqsuite.models.build import build_model

    config = resolve_model(name, settings)
    if seed is not None:
        torch.manual_seed(seed)
    return build_model(config, vocab_size=vocab_size, seqlen=seqlen)


def load(source: str = "latest", *, experiment: str = "seqsuite") -> "SequenceModel":
    """Return a trained model, in evaluation mode.

    Args:
        source: ``"latest"``, a finished run's name or the beginning of its id, a folder, or a name on the
            Hugging Face hub.
        experiment: MLflow experiment that a run is in.

    Raises:
        UserError: if there is no such model.
    """
    model, _ = _load(source, experiment)
    return model


def generate(
    model: "str | LanguageModel",
    prompt: "str | torch.Tensor | None" = None,
    length: int = 256,
    *,
    seed: int = 0,
    experiment: str = "seqsuite",
    **sampling: Any,
) -> "str | torch.Tensor":
    """Return what a model makes of a prompt: the generated part alone.

    Args:
        model: A model, or what :func:`load` takes.
        prompt: Text, for a run whose task has a codec; or token ids (L,). By default a run goes on from the
            beginning of its test data.
        length: Tokens to generate.
        seed: Seed of the sampling.
        experiment: MLflow experiment that a run is in.
        sampling: ``temperature``, ``top_k``, ``top_p``, ``repetition_penalty``.

    Returns:
        Text if the model is a run whose task has a codec, else token ids (length,).

    Raises:
        UserError: if the model cannot generate, or the prompt is not its own kind.
    """
    import torch

    from seqsuite.models.generation import generate as generate_tokens
    from seqsuite.models.sequence_model import LanguageModel

    codec: Codec | None = None
    if isinstance(model, str):
        loaded, task = _load(model, experiment)
        codec = None if task is None else task.codec
        if prompt is None and task is not None:
            prompt = torch.from_numpy(task.prompt())
    else:
        loaded = model
    if not isinstance(loaded, LanguageModel):
        raise UserError("This model gives classes or numbers: it generates nothing.")
    if isinstance(prompt, str):
        if codec is None:
            raise UserError("This model has no codec for text: give token ids as the prompt.")
        prompt = torch.from_numpy(codec.encode(prompt))
    if prompt is None:
        prompt = torch.zeros(1, dtype=torch.long)
    tokens = [int(token) for token in generate_tokens(loaded, [prompt], length, seed=seed, **sampling)]
    return torch.tensor(tokens) if codec is None else codec.decode(tokens)


def inspect(
    model: "str | SequenceModel", inputs: "str | torch.Tensor", *, experiment: str = "seqsuite"
) -> "list[dict[str, Inspected]]":
    """Return what each block's mixer decided at each position: step sizes, decays, attention, kernels.

    Args:
        model: A model, or what :func:`load` takes.
        inputs: Text, for a run whose task has a codec; or token ids (B, L).
        experiment: MLflow experiment that a run is in.

    Returns:
        For each block, from first to last, what it decided by name, such as ``delta`` (B, L, D), ``decay``
        and ``state`` (B, L, D, N) of a selective layer, ``weights`` (B, H, L, L) of attention, or ``kernel``
        (D, L) of S4. Each is an :class:`~seqsuite.models.base.Inspected`: ``values``, ``axes`` and ``unit``.

    Raises:
        UserError: if text is given to a model without a codec.
    """
    import torch

    from seqsuite.models.inspection import inspect_model

    codec: Codec | None = None
    if isinstance(model, str):
        model, task = _load(model, experiment)
        codec = None if task is None else task.codec
    if isinstance(inputs, str):
        if codec is None:
            raise UserError("This model has no codec for text: give token ids (B, L) as the input.")
        inputs = torch.from_numpy(codec.encode(inputs)).unsqueeze(0)
    return inspect_model(model, inputs)


def _load(source: str, experiment: str) -> "tuple[SequenceModel, Any]":
    """Return a model, and the task of a run that has the files of its data."""
    from seqsuite.experiments.checkpoint_loading import load_for_inference
    from seqsuite.experiments.sources import open_source
    from seqsuite.models.formats import native
    from seqsuite.models.formats.files import read_description
    from seqsuite.models.pretrained import from_pretrained

    with open_source(source, experiment) as found:
        if "task" in native.settings_of(read_description(found.folder)):
            model, config = load_for_inference(found.folder)
            return model, config.make_task()
        return from_pretrained(found.folder), None


@contextmanager
def _host(
    cells: "Sequence[CellConfig]",
    display: "Callable[..., Any] | None",
    *,
    takeover: bool,
    offline: bool,
    retry: bool,
) -> "Iterator[Host]":
    """Yield what cells are run with, while interruptions wait for a safe moment."""
    from contextlib import nullcontext

    from seqsuite.experiments.cell import Host
    from seqsuite.experiments.interruption import deferred_interrupts
    from seqsuite.experiments.tracking.store import open_store
    from seqsuite.experiments.training.callbacks import Callback
    from seqsuite.results.run_notes import illustrate

    store = None
    if not offline:
        try:
            store = open_store(cells[0].run.experiment)
            store.reap_stale()
        except UserError as error:
            raise UserError(
                f"{error} Or run with --offline, and send what is recorded later with `seqsuite sync`."
            ) from error
    with deferred_interrupts() as interruption:
        yield Host(
            store=store,
            make_display=display or (lambda config, task, start: nullcontext(Callback())),
            illustrate=illustrate,
            interruption=interruption,
            takeover=takeover,
            retry_failed=retry,
        )
