"""The events of a run: what a journal holds, one JSON object a line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.schema import FinalStatus

EVENTS = "events.jsonl"
"""A journal's name in its cell's folder."""


@dataclass(frozen=True)
class RunHeader:
    """What a run is of.

    Attributes:
        cell_id: Identity of the cell.
        group_id: Identity of the cells that differ from it in their seed only.
        name: The run's name in MLflow's pages.
        params: The resolved configuration, nested or with dotted keys.
        tags: The task, model, scale, metric and so on, by the ``TAG_…`` names of :mod:`.schema`.
        parent_run_id: Run of the grid that the cell belongs to.
    """

    cell_id: str
    group_id: str
    name: str
    params: Mapping[str, object]
    tags: Mapping[str, str]
    parent_run_id: str | None = None


def _inside(name: str) -> str:
    """Check that a path stays in the folder it is relative to."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name} is not in its folder")
    return name


Inside = Annotated[str, AfterValidator(_inside)]
"""A path relative to a folder that it does not leave."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    time: int
    """Milliseconds since 1970."""


class Started(_Event):
    """The run starts, or goes on after an interruption."""

    event: Literal["start"] = "start"
    journal: str
    """What tells this journal from others: the run it is sent to has it as a tag."""
    header: RunHeader
    run_id: str | None
    standing: dict[str, int]
    """The last step of each metric that MLflow has from before this journal."""


class Measured(_Event):
    """Metrics at a step."""

    event: Literal["metrics"] = "metrics"
    step: int
    values: dict[str, float]


class Stored(_Event):
    """A file to keep with the run; the path is relative to the cell's folder."""

    event: Literal["artifact"] = "artifact"
    path: Inside
    folder: Inside | None


class Published(_Event):
    """A folder to publish as the run's model; it is relative to the cell's."""

    event: Literal["model"] = "model"
    folder: Inside
    name: str
    params: dict[str, str]


class Tagged(_Event):
    """Tags to set on the run."""

    event: Literal["tags"] = "tags"
    tags: dict[str, str]


class Ended(_Event):
    """The run ends, for now or for good."""

    event: Literal["end"] = "end"
    status: FinalStatus


Event = Started | Measured | Stored | Published | Tagged | Ended
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Yield the events of a journal from a byte offset on, each with the offset after it.

    A last line without its end is left out: it is being written, or was torn by a crash.

    Raises:
        UserError: if the file cannot be read or is damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield _EVENT.validate_json(line), offset
    except FileNotFoundError:
        return
    except (OSError, ValidationError) as error:
        reason = (
            f"not an event before byte {offset}" if isinstance(error, ValidationError) else error.strerror
        )
        raise UserError(
            f"The journal {path} is damaged ({reason}): move it away and run again; what MLflow has is kept."
        ) from error


def journal_of(path: Path) -> str | None:
    """Return what tells a journal from others, or ``None`` before its run is started.

    Raises:
        UserError: if the journal is damaged.
    """
    return next((event.journal for event, _ in read_events(path) if isinstance(event, Started)), None)


def experiment_of(path: Path) -> str | None:
    """Return the MLflow experiment that a journal's run is for, or ``None`` before the run is started.

    Raises:
        UserError: if the journal is damaged.
    """
    for event, _ in read_events(path):
        if isinstance(event, Started):
            run = event.header.params.get("run")
            return str(run["experiment"]) if isinstance(run, Mapping) and "experiment" in run else "seqsuite"
    return None


def journal_tag(folder: Path, name: str) -> str | None:
    """Return the last value of a tag in the journal of a cell's folder, or ``None`` if there is none.

    Raises:
        UserError: if the journal is damaged.
    """
    value = None
    for event, _ in read_events(folder / EVENTS):
        if isinstance(event, Tagged):
            value = event.tags.get(name, value)
    return value


def journal_status(folder: Path) -> FinalStatus | None:
    """Return how the run of a cell's folder has ended last; ``None`` if it goes on, or there is none.

    Raises:
        UserError: if the journal is damaged.
    """
    status: FinalStatus | None = None
    for event, _ in read_events(folder / EVENTS):
        if isinstance(event, Started):
            status = None
        elif isinstance(event, Ended):
            status = event.status
    return status
