"""Whether a task hands out what its :class:`~seqsuite.tasks.base.ModelIO` says, told in a sentence if not.

Every batch is looked at before a model sees it: shapes and types, the range of tokens and targets, whether
numbers are finite. That takes a few reductions of arrays that were just written.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean
from seqsuite.tasks.base import IGNORE, Array, Batch, EvalSet, ModelIO, SampleMetric, Split, Task
from seqsuite.wording import counted

Row = tuple[Array, Array]
"""Inputs (L,) or (L, C), and targets (L,), () or (L, K)."""


def checked_row(task: Task, made: object, row: int, which: EvalSet | None = None) -> Row:
    """Return what was made for one row as arrays.

    Args:
        task: The task.
        made: Inputs and targets.
        row: The row's number.
        which: The evaluation set that it is of; ``None`` is training.

    Raises:
        UserError: if it is no pair, or shapes, types or the length are not those that ``task.io`` says.
    """
    place = _Place(task, range(row, row + 1), which)
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise place.fault(f"makes {_what(made)} for {place}: expected a pair, inputs and targets.")
    inputs, targets = _array(made[0], place), _array(made[1], place)
    _check_kind("inputs", inputs, place, numbers=task.io.d_input is not None)
    _check_kind("targets", targets, place, numbers=task.io.d_target is not None)
    _check_inputs(inputs, ("L",), place)
    _check_targets(targets, inputs.shape[:1], (), place)
    _check_length(len(inputs), place)
    return inputs, targets


def check_batch(task: Task, batch: object, rows: range, which: EvalSet | None = None) -> None:
    """Refuse a batch that is not as ``task.io`` says.

    Args:
        task: The task.
        batch: Its rows, a :class:`~seqsuite.tasks.base.Batch`.
        rows: Their numbers.
        which: The evaluation set that they are of; ``None`` is training.

    Raises:
        UserError: naming the task, the rows, what came and what is expected.
    """
    if not isinstance(batch, Batch):
        place = _Place(task, rows, which)
        raise place.fault(f"gives {_what(batch)} for {place}: expected a Batch.")
    packed = batch.cu_seqlens is not None
    place = _Place(task, rows, which, packed)
    _check_type("inputs", batch.inputs, place, numbers=task.io.d_input is not None)
    _check_type("targets", batch.targets, place, numbers=task.io.d_target is not None)
    _check_inputs(batch.inputs, ("B", "L"), place)
    if len(batch.inputs) != (1 if packed else len(rows)):
        expected = "one, as they are packed" if packed else str(len(rows))
        raise place.fault(f"gives a batch of {len(batch.inputs)} for {place}: expected {expected}.")
    sequences, longest = batch.inputs.shape[:2]
    if batch.lengths is not None:
        _check_padded_lengths(batch.lengths, (sequences,), longest, place)
    if batch.cu_seqlens is not None:
        lengths = _packed_lengths(batch.cu_seqlens, longest, place)
        sequences, longest = len(lengths), int(lengths.max())
    _check_targets(batch.targets, batch.inputs.shape[:2], (sequences,), place)
    _check_length(longest, place)
    _check_input_values(batch.inputs, place)
    _check_target_values(batch.targets, place)


def check_sets(task: Task, split: Split, sets: Sequence[EvalSet]) -> None:
    """Refuse evaluation sets that cannot be told apart or scored.

    Raises:
        UserError: if there is none, one is of another split or has no rows, or two have one name.
    """
    name = _name(task)
    if not sets:
        raise UserError(f"{name} has no evaluation set for {split}: eval_sets must return one at least.")
    seen: set[str] = set()
    for which in sets:
        if which.name in seen:
            raise UserError(f"{name} has two {split} sets of the name {which.name!r}: give each its own.")
        seen.add(which.name)
        if which.split != split:
            raise UserError(
                f"{name} returns the {which.split} set {which.name!r} when asked for those of {split}: give "
                "EvalSet the split that eval_sets is called with."
            )
        if which.rows < 1 or which.seqlen < 1:
            raise UserError(
                f"{name} has the {split} set {which.name!r} of {which.rows} x {which.seqlen}: expected one "
                "row and one position at least."
            )


def check_evaluations(task: Task) -> None:
    """Look at the beginning of every evaluation set, so that no fault is found after hours of training.

    Raises:
        UserError: as :func:`check_sets` and :func:`check_batch`.
    """
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        sets = task.eval_sets(split)
        check_sets(task, split, sets)
        for which in sets:
            rows = range(which.lanes or 1)
            check_batch(task, task.eval_batch(which, rows), rows, which)


def check_counted(task: Task, which: EvalSet, count: float) -> None:
    """Refuse to score an evaluation set in which no target counts.

    Raises:
        UserError: naming the set.
    """
    if not count:
        raise UserError(
            f"{_name(task)} has no target that counts in its {which.split} set {which.name!r}: all of its "
            f"{which.rows} rows are empty or ignored, and there is nothing to score."
        )


def check_metrics(task: Task, computed: Sequence[str]) -> None:
    """Refuse a task with a metric that is not computed.

    Args:
        task: The task.
        computed: What is, of each evaluation set.

    Raises:
        UserError: naming the metric and what there is.
    """
    choice = ", ".join(computed)
    if not task.metrics:
        raise UserError(f"{_name(task)} has no metrics: choose from {choice}.")
    for metric in task.metrics:
        known = set(computed)
        if "/" in metric.name:  # of a set besides the first
            others = task.eval_sets("validation")[1:]
            known |= {f"{which.name}/{name}" for which in others for name in computed}
        if metric.name not in known:
            raise UserError(
                f"{_name(task)} has the metric {metric.name!r}, which nothing computes for it: choose from "
                f"{choice}.{did_you_mean(metric.name, computed)}"
            )


def checked_scores(task: Task, metric: SampleMetric, found: object) -> dict[str, float]:
    """Return what a metric of generated samples has returned.

    Raises:
        UserError: if that is not numbers by their names.
    """
    called = getattr(metric, "__name__", type(metric).__name__)
    told = f"{_name(task)} has the sample metric {called}, which returned"
    expected = 'expected a number for each name, such as {"balance": 0.5}.'
    if not isinstance(found, Mapping):
        raise UserError(f"{told} {_what(found)}: {expected}")
    for name, value in found.items():
        if not isinstance(name, str) or not _is_number(value):
            raise UserError(f"{told} {_what(value)} for {name!r}: {expected}")
    return {name: float(value) for name, value in found.items()}


class _Place(NamedTuple):
    """Rows of a task: training's, or those of an evaluation set."""

    task: Task
    rows: range
    which: EvalSet | None
    packed: bool = False

    def __str__(self) -> str:
        first, count = self.rows.start, len(self.rows)
        numbers = f"row {first}" if count == 1 else f"rows {first} to {first + count - 1}"
        if self.which is None:
            return f"training {numbers}"
        return f"{numbers} of the {self.which.split} set {self.which.name!r}"

    def first(self, wrong: Array) -> "_Place":
        """Return the place of the first row of ``wrong`` (B, …) with a true value; of packed ones all."""
        if self.packed:
            return self
        number = int(np.argwhere(wrong)[0][0])
        return _Place(self.task, self.rows[number : number + 1], self.which)

    def fault(self, text: str) -> UserError:
        """Return what is to be raised."""
        return UserError(f"{_name(self.task)} {text}")


def _name(task: Task) -> str:
    return f"The task {type(task).__name__}"


def _what(value: object) -> str:
    """Return what came, in a few words."""
    shape = getattr(value, "shape", ())
    if shape != ():
        return f"an array of shape {tuple(shape)}"
    if isinstance(value, tuple):
        return counted(len(value), "part")
    return f"a value of type {type(value).__name__}"


def _shape(sizes: Sequence[object]) -> str:
    """Return a shape as Python writes it; a letter stands for any size."""
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(map(str, sizes))})"


def _said(io: ModelIO, name: str) -> str:
    """Return what in ``io`` says how ``"inputs"`` or ``"targets"`` are."""
    keys = ("d_input",) if name == "inputs" else ("d_target", "n_classes", "n_labels")
    key = next((key for key in keys if getattr(io, key) is not None), "vocab_size")
    return f"io.{key}={getattr(io, key)}"


def _is_number(value: Any) -> bool:
    if isinstance(value, str) or np.ndim(value):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _array(part: Any, place: _Place) -> Array:
    """Return an array of what may be lists."""
    try:
        return np.asarray(part)
    except ValueError as error:
        raise place.fault(f"makes lists of unequal lengths for {place}: expected arrays.") from error


def _check_kind(name: str, values: Array, place: _Place, *, numbers: bool) -> None:
    """Refuse other than whole numbers, or than numbers; where there are none the type says nothing."""
    if values.size and values.dtype.kind not in ("fiub" if numbers else "iub"):
        wanted = "numbers" if numbers else "whole numbers"
        raise place.fault(
            f"has {name} of {values.dtype} in {place}: {_said(place.task.io, name)} asks for {wanted}."
        )


def _check_type(name: str, values: Array, place: _Place, *, numbers: bool) -> None:
    """Refuse another type than a model takes."""
    wanted = np.dtype(np.float32 if numbers else np.int64)
    if not isinstance(values, np.ndarray):
        raise place.fault(f"has {name} that are {_what(values)} in {place}: expected an array of {wanted}.")
    if values.dtype != wanted:
        raise place.fault(
            f"has {name} of {values.dtype} in {place}: {_said(place.task.io, name)} asks for {wanted}."
        )


def _check_inputs(inputs: Array, lead: tuple[str, ...], place: _Place) -> None:
    """Refuse another shape than that of positions ``lead``, with as many numbers each as ``io`` says."""
    width = place.task.io.d_input
    expected = lead if width is None else (*lead, width)
    if inputs.ndim != len(expected) or (width is not None and inputs.shape[-1] != width):
        raise place.fault(
            f"has inputs of shape {inputs.shape} in {place}: {_said(place.task.io, 'inputs')} asks for "
            f"{_shape(expected)}."
        )


def _check_targets(targets: Array, lead: tuple[int, ...], sequences: tuple[int, ...], place: _Place) -> None:
    """Refuse another shape than that of positions ``lead`` or, where these are classified, ``sequences``."""
    io = place.task.io
    if io.d_target is not None:
        expected, meaning = (*lead, io.d_target), "that many numbers a position"
    elif io.n_classes is not None:
        expected, meaning = sequences, "one class a sequence"
    else:
        expected, meaning = lead, "one a position"
    if targets.shape != expected:
        raise place.fault(
            f"has targets of shape {targets.shape} in {place}: {_said(io, 'targets')} asks for {expected}, "
            f"{meaning}."
        )


def _check_padded_lengths(lengths: Array, expected: tuple[int, ...], positions: int, place: _Place) -> None:
    """Refuse true lengths that those of ``expected`` rows of so many positions cannot be."""
    if lengths.shape != expected or lengths.min() < 0 or lengths.max() > positions:
        raise place.fault(
            f"has lengths {lengths.tolist()} in {place}: expected {expected[0]} of 0 to {positions}."
        )


def _packed_lengths(offsets: Array, positions: int, place: _Place) -> Array:
    """Return the lengths (S,) of packed sequences."""
    lengths: Array = np.diff(offsets)
    if not len(lengths) or offsets[0] != 0 or offsets[-1] != positions or lengths.min() < 0:
        raise place.fault(
            f"has cu_seqlens in {place} that are no offsets: expected some that rise from 0 to {positions}."
        )
    return lengths


def _check_length(length: int, place: _Place) -> None:
    """Refuse sequences that are longer than is said."""
    which = place.which
    limit = place.task.io.seqlen if which is None else which.seqlen
    if length > limit:
        said = "io.seqlen" if which is None else "its EvalSet.seqlen"
        raise place.fault(f"has {length} positions in {place}: {said}={limit} is the most that it may have.")


def _check_input_values(inputs: Array, place: _Place) -> None:
    io = place.task.io
    if io.d_input is not None:
        finite = np.isfinite(inputs)
        if not finite.all():
            raise place.fault(f"has inputs that are NaN or infinite in {place.first(~finite)}.")
    elif io.vocab_size is not None:
        wrong = _outside(inputs, io.vocab_size)
        if wrong is not None:
            raise place.fault(
                f"has the token {inputs[wrong][0]} in {place.first(wrong)}: {_said(io, 'inputs')} asks for 0 "
                f"to {io.vocab_size - 1}."
            )


def _check_target_values(targets: Array, place: _Place) -> None:
    io = place.task.io
    if io.d_target is not None:
        wrong = np.isinf(targets)
        if wrong.any():
            raise place.fault(
                f"has infinite targets in {place.first(wrong)}: NaN stands for what does not count."
            )
        return
    limit = next((size for size in (io.n_classes, io.n_labels, io.vocab_size) if size is not None), None)
    if limit is None:
        return
    outside = _outside(targets, limit)
    if outside is not None and (outside & (targets != IGNORE)).any():
        outside &= targets != IGNORE
        raise place.fault(
            f"has the target {targets[outside][0]} in {place.first(outside)}: {_said(io, 'targets')} asks "
            f"for 0 to {limit - 1}, and {IGNORE} where none counts."
        )


def _outside(values: Array, limit: int) -> Array | None:
    """Return which numbers are not among 0 … limit - 1; ``None`` if all are."""
    if not values.size or (values.min() >= 0 and values.max() < limit):
        return None
    return (values < 0) | (values >= limit)
