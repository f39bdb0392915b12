"""A store that takes no time, and does what it is told to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Point

HEADER = RunHeader("c0", "g0", "dna-mamba", {"run": {"experiment": "e"}, "seed": 1}, {"kind": "x"})


class FakeStore:
    """Keeps runs as MLflow does: a point once, points never deleted. A call fails while ``up`` is false,
    and ``fail_at`` names the call, counted from 0, that fails ``"before"`` or ``"after"`` it took effect."""

    def __init__(self, fail_at: int = -1, fails: str = "before") -> None:
        self.up = True
        self.runs: dict[str, dict] = {}
        self.calls = 0
        self._fail_at, self._fails = fail_at, fails

    def start_cell(
        self, header: RunHeader, resume_run_id: str | None = None, *, at: int | None = None, journal: str = ""
    ) -> str:
        def start() -> str:
            run_id = resume_run_id or f"run{len(self.runs)}"
            empty = {"points": {}, "tags": {}, "artifacts": {}, "models": {}, "statuses": []}
            run = self.runs.setdefault(run_id, empty | {"journal": journal, "start": at})
            run["header"], run["status"] = header, "RUNNING"
            return run_id

        return self._call(start)

    def has_run(self, run_id: str) -> bool:
        return self._call(lambda: run_id in self.runs)

    def find_journal(self, journal: str) -> str | None:
        return next((name for name, run in self.runs.items() if run["journal"] == journal), None)

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        def log() -> None:
            for point in points:
                self.runs[run_id]["points"][repr(point)] = point

        self._call(log)

    def log_batch(self, run_id: str, *, tags: Mapping[str, str]) -> None:
        self._call(lambda: self.runs[run_id]["tags"].update(tags))

    def artifact(self, run_id: str, path: Path, folder: str | None = None) -> None:
        self._call(lambda: self.runs[run_id]["artifacts"].update({f"{folder}/{path.name}": path.read_text()}))

    def publish_model(self, run_id: str, folder: Path, *, name: str, params: Mapping[str, str]) -> None:
        files = {path.name: path.read_text() for path in folder.iterdir()}
        self._call(lambda: self.runs[run_id]["models"].update({name: (files, dict(params))}))

    def finish(self, run_id: str, status: FinalStatus, *, at: int | None = None) -> None:
        self._call(lambda: self.runs[run_id].update(status=status, end=at))

    def series(self, key: str, run_id: str = "run0") -> list[tuple[int, float]]:
        """Return a metric's points by step, doubled ones too."""
        points = self.runs.get(run_id, {"points": {}})["points"].values()
        return sorted((point.step, point.value) for point in list(points) if point.key == key)

    def _call(self, effect):
        self.calls += 1
        fails = self.calls - 1 == self._fail_at
        if not self.up or (fails and self._fails == "before"):
            raise UserError("no server answers there")
        result = effect()
        if fails:
            raise UserError("the answer was lost")
        return result


@pytest.fixture
def fake() -> type[FakeStore]:
    return FakeStore


@pytest.fixture
def header() -> RunHeader:
    return HEADER
