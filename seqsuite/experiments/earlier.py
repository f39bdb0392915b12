"""The run that MLflow has of a cell from before."""

import time
from collections.abc import Callable

from seqsuite.errors import UserError
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.identity import identity, identity_of
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun, Store


def earlier_run(store: Store, config: CellConfig, data: str) -> CellRun | None:
    """Return a cell's finished run, or else its newest, whatever its status, or ``None``.

    A finished run counts too that a version of the suite recorded which had fewer options: those are at their
    defaults, and nobody trains twice because the suite has learned something new.

    Args:
        store: Where runs are recorded.
        config: The cell.
        data: Fingerprint of its data.

    Raises:
        UserError: if the store cannot be read.
    """
    found = store.find_cell(config.cell_id(data))
    if found is not None and found.status == "FINISHED":
        return found
    return _of_another_version(store, config, data) or found


def wait_for_earlier_run(
    store: Store, config: CellConfig, data: str, patience: float, stop: Callable[[], bool]
) -> CellRun | None:
    """Return what :func:`earlier_run` does, and ask again, once a second, where the store is away.

    Args:
        store: Where runs are recorded.
        config: The cell.
        data: Fingerprint of its data.
        patience: Seconds to wait for the store.
        stop: Whether to wait no longer.

    Raises:
        UserError: if the store cannot be read all that time.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return earlier_run(store, config, data)
        except UserError:
            if time.monotonic() >= deadline or stop():
                raise
            time.sleep(1.0)


def _of_another_version(store: Store, config: CellConfig, data: str) -> CellRun | None:
    tags = {
        schema.TAG_KIND: "cell",
        schema.TAG_SCALE: config.scale,
        schema.TAG_SEED: str(config.seed),
        schema.TAG_DATA: data,
    }
    conditions = [f"tags.`{tag}` = '{value}'" for tag, value in tags.items() if value]
    wanted = identity_of(config)
    for run in store.search(" and ".join([*conditions, "attributes.status = 'FINISHED'"])):
        if run.tags.get(schema.TAG_DATA, "") == data and identity(run.params) == wanted:
            return run
    return None
