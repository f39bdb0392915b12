"""``seqsuite sync``: what the journals of runs still hold, sent to MLflow."""

from pathlib import Path

import click

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.events import EVENTS, experiment_of
from seqsuite.experiments.tracking.lease import LeaseHeld
from seqsuite.experiments.tracking.store import Store, open_store
from seqsuite.experiments.tracking.uploader import sync

EXIT_LEFT = 1


def sync_runs(folder: Path) -> int:
    """Send what is unsent of each cell's folder in ``folder``; return 1 if something is left, and else 0."""
    stores: dict[str, Store | UserError] = {}
    left = sent = 0
    cells = [path.parent for path in sorted(folder.glob(f"*/{EVENTS}"))]
    for cell in cells:
        try:
            count = _sync_cell(cell, stores)
        except LeaseHeld as held:
            click.echo(str(held))
            continue
        except UserError as error:
            click.echo(f"{cell.name}: {error}", err=True)
            left += 1
            continue
        sent += count
        if count:
            click.echo(f"{cell.name}: {_counted(count, 'event')} sent")
    click.echo(_summary(folder, len(cells), sent, left))
    return EXIT_LEFT if left else 0


def _sync_cell(cell: Path, stores: dict[str, Store | UserError]) -> int:
    """Send a cell's events to the experiment that it was run for; a store that fails is not tried again."""
    experiment = experiment_of(cell / EVENTS)
    if experiment is None:
        return 0
    if experiment not in stores:
        try:
            stores[experiment] = open_store(experiment)
        except UserError as error:
            stores[experiment] = error
    store = stores[experiment]
    if isinstance(store, UserError):
        raise store
    return sync(cell, store)


def _summary(folder: Path, cells: int, sent: int, left: int) -> str:
    if not cells:
        return f"There are no runs in {folder}."
    if left:
        return f"{_counted(left, 'run')} could not be sent: give `seqsuite sync` again."
    return "All is sent." if sent else "All was sent before."


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
