"""Finished runs as one compact JSON file, which tables and figures read in place of a store.

A run is a line, so that a file under version control shows which run changed. Parameters that all runs share
stand once. Of the curves it has those of the validation, and the training loss thinned to
:data:`CURVE_POINTS`; checkpoints and samples stay with the store. What names a machine or a process is left
out.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import LARGEST, Points, Reader
from seqsuite.experiments.tracking.store import CellRun

FORMAT = "seqsuite runs 1"
CURVE_POINTS = 200
_ENDED = ("FINISHED", "FAILED")
_PRIVATE = (schema.TAG_HOST, schema.TAG_MACHINE, schema.TAG_PROCESS, schema.TAG_JOURNAL)
_LOCAL = ("run.output",)


def export_runs(reader: Reader, cells: Sequence[CellRun], path: Path) -> int:
    """Write the ended ones of some cells' runs to a file, and return how many these are.

    The same runs give the same bytes.

    Args:
        reader: Where their curves are read.
        cells: Runs, in the order of the reader: newest first.
        path: The file, which is replaced.

    Raises:
        UserError: if there are none, or the file cannot be written.
    """
    kept = [cell for cell in cells if cell.status in _ENDED]
    if not kept:
        raise UserError("No run has ended yet: there is nothing to export.")
    shared = _shared([cell.params for cell in kept])
    lines = [json.dumps(_described(reader, cell, shared), **_COMPACT) for cell in kept]
    head = {"format": FORMAT, "experiment": reader.experiment, "shared": shared}
    text = json.dumps(head, **_COMPACT)[:-1] + ',"runs":[\n' + ",\n".join(lines) + "\n]}\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"The file {path} cannot be written: {error.strerror}.") from error
    return len(kept)


class FileReader:
    """Reads a file that :func:`export_runs` wrote.

    Raises:
        UserError: if it cannot be read, or is no such file.
    """

    def __init__(self, path: Path) -> None:
        content = _content(path)
        self._path = path
        try:
            self.experiment = str(content["experiment"])
            shared = {str(key): str(value) for key, value in content["shared"].items()}
            self._cells = [_cell(run, shared) for run in content["runs"]]
            self._curves = {run["id"]: run["curves"] for run in content["runs"]}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"The file {path} is damaged: {error!r} is wrong or missing.") from None

    def cells(self) -> list[CellRun]:
        """Return all runs, newest first."""
        return list(self._cells)

    def get(self, run_id: str) -> CellRun:
        """Return one run; raises :class:`~seqsuite.errors.UserError` if there is none."""
        for cell in self._cells:
            if cell.run_id == run_id:
                return cell
        raise UserError(f"There is no run {run_id!r} in {self._path}.")

    def history(self, run_id: str, metric: str) -> Points:
        """Return a metric by step, as far as it was exported."""
        steps, values = self._curves.get(run_id, {}).get(metric, ((), ()))
        return [(int(step), _number(value)) for step, value in zip(steps, values, strict=True)]


_COMPACT: dict[str, Any] = {
    "separators": (",", ":"),
    "ensure_ascii": False,
    "sort_keys": True,
    "allow_nan": False,
}


def _content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise UserError(f"The file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        content = None
    except ValueError as error:
        if text.lstrip().startswith("{"):
            raise UserError(f"The file {path} is not whole ({error}): export it again.") from error
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"The file {path} holds no runs: `seqsuite results --export FILE` writes such files.")
    return content


def _shared(params: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first = params[0]
    return {
        key: value
        for key, value in first.items()
        if key not in _LOCAL and all(other.get(key) == value for other in params)
    }


def _described(reader: Reader, cell: CellRun, shared: Mapping[str, str]) -> dict[str, Any]:
    names = (schema.TRAIN_LOSS, schema.VALIDATION_LOSS, schema.VALIDATION + cell.tags[schema.TAG_METRIC])
    curves = {name: _thinned(reader.history(cell.run_id, name)) for name in names}
    return {
        "id": cell.run_id,
        "name": cell.name,
        "status": cell.status,
        "start": round(cell.start_time, 3),
        "params": {
            key: value for key, value in cell.params.items() if key not in shared and key not in _LOCAL
        },
        "tags": {
            key: value
            for key, value in cell.tags.items()
            if key.startswith("seqsuite.") and key not in _PRIVATE
        },
        "metrics": {key: _plain(value) for key, value in cell.metrics.items()},
        "curves": {
            name: [[step for step, _ in points], [_plain(value) for _, value in points]]
            for name, points in curves.items()
            if points
        },
    }


def _thinned(points: Points) -> Points:
    """Return at most :data:`CURVE_POINTS` and the last of a curve's points, evenly chosen."""
    stride = max(1, math.ceil(len(points) / CURVE_POINTS))
    return [*points[:-1:stride], *points[-1:]]


def _plain(value: float) -> float | None:
    """Return a number that JSON has: NaN is nothing, and infinity the largest, as in MLflow's database."""
    if math.isnan(value):
        return None
    return max(-_LARGEST_FLOAT, min(_LARGEST_FLOAT, value))


_LARGEST_FLOAT = 1.7976931348623157e308


def _number(value: float | None) -> float:
    """Return what :func:`_plain` made of a number, with infinity for the largest."""
    if value is None:
        return math.nan
    return math.inf if value > LARGEST else float(value)


def _cell(run: Mapping[str, Any], shared: Mapping[str, str]) -> CellRun:
    return CellRun(
        run_id=str(run["id"]),
        name=str(run["name"]),
        status=run["status"],
        params={**shared, **run["params"]},
        metrics={key: math.nan if value is None else float(value) for key, value in run["metrics"].items()},
        tags=dict(run["tags"]),
        start_time=float(run["start"]),
    )
