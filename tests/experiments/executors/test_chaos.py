"""Workers, the command and the MLflow server are killed at random; the same command ends it all the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.events import EVENTS, Measured, Started, read_events
from seqsuite.experiments.tracking.processes import is_alive
from seqsuite.experiments.tracking.store import open_store

pytestmark = pytest.mark.slow

CELLS = 24
SECONDS = float(os.environ.get("SEQSUITE_CHAOS_SECONDS", "60"))
GRID = [
    *["task=selective_copying", "model=mamba", "scale=smoke", "model.d_model=16", "task.eval_examples=16"],
    *["train.steps=60", "train.eval_every=20", "train.log_every=1", f"seed=0..{CELLS - 1}"],
    *["run.checkpoint_every=5", "run.sample_length=4", "run.threads=1", "run.executor=processes"],
    "run.parallel=4",
]
TIMED = (
    *(schema.SPEED, schema.TRAIN_SECONDS, schema.TOKENS_PER_SECOND, schema.FLOPS_PER_SECOND),
    *(schema.INPUT_WAIT, schema.PEAK_MEMORY),
)
Series = dict[str, dict[int, float]]


class Command:
    """The same command, given again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "seqsuite", "run", *GRID, *options],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(900)

    def workers(self) -> list[int]:
        """Return the processes that run cells now."""
        found = []
        for lease in self.folder.glob("runs/.*.lease"):
            try:
                record = json.loads(lease.read_text())
            except (OSError, ValueError):
                continue  # it is being replaced
            if is_alive(record["process"]):
                found.append(int(record["pid"]))
        return found


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    folder = tmp_path / "chaos"
    folder.mkdir()
    command = Command(folder)
    yield command
    command.kill()


def quiet(folder: Path) -> dict[str, Series]:
    """Return the series of each cell, run without MLflow and without harm."""
    folder.mkdir()
    command = Command(folder)
    command.start("--offline")
    assert command.wait() == 0, (folder / "output").read_text()
    found = {}
    for path in folder.glob(f"runs/*/{EVENTS}"):
        series: Series = {}
        for event, _ in read_events(path):
            if isinstance(event, Started):
                found[event.header.cell_id] = series
            elif isinstance(event, Measured):
                for key, value in event.values.items():
                    series.setdefault(key, {})[event.step] = value
    return {cell: untimed(series) for cell, series in found.items()}


def untimed(series: Series) -> Series:
    return {key: points for key, points in series.items() if key not in TIMED}


def harm(command: Command, server: Any, seconds: float) -> dict[str, int]:
    """Kill at random for so long, and until each was killed; return how often what was."""
    chance = random.Random(0)
    kills = {"worker": 0, "command": 0, "server": 0}
    began = time.monotonic()
    while time.monotonic() < began + seconds or not all(kills.values()):
        assert time.monotonic() < began + 10 * seconds + 300, kills
        if not command.runs():
            command.start()
        time.sleep(chance.uniform(0.5, 2.0))
        what = chance.choices(list(kills), weights=[6, 2, 2])[0]
        workers = command.workers()
        if what == "worker" and workers:
            try:
                os.kill(chance.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                continue
        elif what == "command" and workers:  # one that works
            command.kill()
        elif what == "server" and workers:
            server.kill()
            time.sleep(chance.uniform(0.0, 2.0))
            server.start()
        else:
            continue
        kills[what] += 1
    return kills


def test_whatever_is_killed_the_same_command_ends_with_each_cell_once(
    command: Command, server: Any, tmp_path: Path
) -> None:
    expected = quiet(tmp_path / "quiet")
    assert len(expected) == CELLS
    kills = harm(command, server, SECONDS)
    if command.runs():
        command.kill()
    tries = 0
    command.start()
    while command.wait() != 0:  # on a busy machine a cell may not have sent all
        tries += 1
        assert tries < 4, (command.folder / "output").read_text()
        command.start()
    print(kills)
    store = open_store()
    cells = store.search(f"tags.`{schema.TAG_KIND}` = 'cell'")
    finished = [run for run in cells if run.status == "FINISHED"]
    assert sorted(run.tags[schema.TAG_CELL] for run in finished) == sorted(expected)
    for run in finished:
        history = {key: store.client.get_metric_history(run.run_id, key) for key in run.metrics}
        series = {key: {point.step: point.value for point in points} for key, points in history.items()}
        assert all(len(points) == len(series[key]) for key, points in history.items())
        assert untimed(series) == expected[run.tags[schema.TAG_CELL]]
