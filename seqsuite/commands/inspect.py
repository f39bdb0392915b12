"""``seqsuite inspect``: what models let in, keep and would say at each token of an input, as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqsuite import api
from seqsuite.commands.console import make_console
from seqsuite.errors import UserError
from seqsuite.experiments.checkpoints import load_for_inference
from seqsuite.experiments.sources import open_source
from seqsuite.models.base import Inspected
from seqsuite.models.formats import native
from seqsuite.models.formats.files import read_description
from seqsuite.models.inspection import inspect_model
from seqsuite.models.remembered import by_time_constant, remembered
from seqsuite.models.sequence_model import LanguageModel, SequenceModel
from seqsuite.results.inspection_page import write_page
from seqsuite.tasks.base import Task
from seqsuite.tasks.codecs.base import Codec

LONGEST = 256
"""Tokens that a page shows at most: its matrices have the square of their number."""

_ANSWERS = 6
_OPENED = 3
_STATES = 64  # rows of a state's heat map
_DNA_ROW = 60
_DEMONSTRATION = ("task=hamburger", "model=mamba,s4d", "scale=cpu")


def inspect_to_page(sources: Sequence[str], text: str, output: Path, experiment: str) -> None:
    """Write the page.

    Args:
        sources: Finished runs or folders; none stands for the demonstration, which is trained if it is not.
        text: The input, which all of them read alike.
        output: The file.
        experiment: MLflow experiment that the runs are in.

    Raises:
        UserError: if a run cannot be shown, or not with this input, or the file cannot be written.
    """
    shown = [_shown(source, experiment, text) for source in sources or _demonstration(experiment)]
    tokens, unit = shown[0]["tokens"], shown[0]["unit"]
    for source, other in zip(sources, shown, strict=False):
        if other["tokens"] != tokens:
            raise UserError(f"{source} reads the input as other tokens than {sources[0]}: show it by itself.")
    row = _DNA_ROW if unit == "base" else 0
    write_page(
        {"tokens": tokens, "unit": unit, "row": row, "models": [one["model"] for one in shown]}, output
    )
    make_console().print(f"{len(tokens)} tokens, models side by side: {len(shown)}, in {output}")


def _demonstration(experiment: str) -> list[str]:
    """Return the runs of the hamburger's models, trained now where they are not."""
    results = api.run(*_DEMONSTRATION, f"run.experiment={experiment}")
    for result in results:
        if result.outcome not in ("finished", "skipped"):
            raise UserError(f"The demonstration could not be trained ({result.outcome}): {result.message}")
    return [result.run_id for result in results]


def _shown(source: str, experiment: str, text: str) -> dict[str, Any]:
    with open_source(source, experiment) as found:
        if "task" not in native.settings_of(read_description(found.folder)):
            raise UserError(f"{found.name} is not a run of a task: what its tokens mean is not known.")
        model, config = load_for_inference(found.folder)
        task = config.make_task()
        if task.codec is None or task.unit == "sample":
            raise UserError(f"{found.name} is of the task {config.task.name!r}, whose input is no text.")
        ids = torch.from_numpy(task.codec.encode(text))
        if not 1 <= len(ids) <= LONGEST:
            raise UserError(f"--input has {len(ids)} tokens: give it 1 to {LONGEST}.")
        if model.longest_input is not None and len(ids) > model.longest_input:
            raise UserError(f"--input has {len(ids)} tokens, and {found.name} reads {model.longest_input}.")
        return {
            "tokens": [_label(task.codec, token) for token in ids.tolist()],
            "unit": task.unit,
            "model": {"name": found.name, **describe(model, task, ids)},
        }


@torch.no_grad()
def describe(model: SequenceModel, task: Task, ids: Tensor) -> dict[str, Any]:
    """Return as plain data what :func:`seqsuite.results.inspection_page.write_page` shows of a model.

    Args:
        model: The model.
        task: What its tokens and classes mean; it has a codec.
        ids: The input, int64 (L,).
    """
    layers = list(model.blocks.layers())
    sizes = [sum(layer.state_size(end + 1) for layer in layers) for end in range(len(ids))]
    width = torch.finfo(next(model.parameters()).dtype).bits // 8
    return {
        "parameters": model.num_parameters(),
        "state_bytes": [size * width for size in sizes],
        "answers": [_likeliest(task, chances) for chances in _chances(model, ids)],
        "layers": [_layer(decided) for decided in inspect_model(model, ids.unsqueeze(0))],
    }


def _chances(model: SequenceModel, ids: Tensor) -> list[Tensor]:
    """Return the probabilities after each position; a classifier is asked of each beginning."""
    if isinstance(model, LanguageModel):
        return list(model(ids.unsqueeze(0))[0].softmax(-1))
    outputs = [model(ids[: end + 1].unsqueeze(0))[0] for end in range(len(ids))]
    return [(output if output.dim() == 1 else output[-1]).softmax(-1) for output in outputs]


def _likeliest(task: Task, chances: Tensor) -> list[tuple[str, float]]:
    values, places = chances.topk(min(_ANSWERS, len(chances)))
    return [
        (_answer(task, place), round(value, 6))
        for value, place in zip(values.tolist(), places.tolist(), strict=True)
    ]


def _answer(task: Task, place: int) -> str:
    if task.class_names:
        return task.class_names[place]
    if task.io.n_classes is not None or task.io.n_labels is not None:
        return f"class {place}"
    assert task.codec is not None
    return _label(task.codec, place)


def _label(codec: Codec, token: int) -> str:
    """Return a token as text, or in hexadecimal if by itself it is none."""
    text = codec.decode([token])
    return text if text.isprintable() and "\ufffd" not in text else f"x{token:02x}"


def _layer(decided: Mapping[str, Inspected]) -> dict[str, Any]:
    memory = remembered(decided)
    return {
        "delta": _step_sizes(decided["delta"]) if "delta" in decided else None,
        "memory": None
        if memory is None
        else {"kind": memory[0], "groups": memory[1], "values": _rounded(memory[2])},
        "state": _state(decided) if "state" in decided and "decay" in decided else None,
    }


def _step_sizes(delta: Inspected) -> dict[str, Any]:
    if "position" not in delta.axes:
        return {"mean": _rounded(delta.values.mean()), "top": None}
    values = delta.values[0]
    most, channels = values.topk(min(_OPENED, values.shape[1]), dim=1)
    top = [list(zip(channels[at].tolist(), _rounded(most[at]), strict=True)) for at in range(len(values))]
    return {"mean": _rounded(values.mean(1)), "top": top}


def _state(decided: Mapping[str, Inspected]) -> Any:
    """Return mean magnitudes (L, channels) by time constant, of neighbours together if they are many."""
    state, decay = decided["state"].values[0].abs(), decided["decay"].values[0]
    by_channel = state.flatten(2).mean(2)[:, by_time_constant(decay)]
    parts = by_channel.tensor_split(min(_STATES, by_channel.shape[1]), dim=1)
    return _rounded(torch.stack([part.mean(1) for part in parts], dim=1))


def _rounded(values: Tensor) -> Any:
    """Return numbers, or lists of them, in four digits."""
    if values.dim():
        return (
            [_rounded(part) for part in values] if values.dim() > 1 else [_four(x) for x in values.tolist()]
        )
    return _four(values.item())


def _four(x: float) -> float:
    return float(f"{x:.4g}")
