from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.journal import RunHeader
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Point, Store, open_store

Record = Callable[..., str]


@pytest.fixture(scope="session")
def results_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, and with it one database, for all tests of results: creating one takes seconds."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def store(results_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    """A store with an experiment of the test's own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{results_folder}/mlflow.db")
    return open_store(request.node.name)


@pytest.fixture
def record(store: Store) -> Record:
    """Record a cell as the uploader does, and return its run's id."""

    def write(
        model: str,
        test: float | None,
        *,
        task: str = "dna",
        scale: str = "cpu",
        seed: int = 0,
        metric: str = "bits_per_base",
        options: Mapping[str, object] | None = None,
        status: FinalStatus = "FINISHED",
        losses: Mapping[int, float] | None = None,
    ) -> str:
        settings = {
            "task.name": task,
            "model.name": model,
            "scale": scale,
            "train.steps": 100,
            "run.output": "runs",
            **(options or {}),
        }
        group = " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
        tags = {
            schema.TAG_TASK: task,
            schema.TAG_MODEL: model,
            schema.TAG_SCALE: scale,
            schema.TAG_SEED: str(seed),
            schema.TAG_METRIC: metric,
            schema.TAG_HIGHER_IS_BETTER: "true" if metric == "accuracy" else "false",
            schema.TAG_BASELINE: "chance" if metric == "accuracy" else "unigram entropy",
        }
        header = RunHeader(
            cell_id=f"{group} seed={seed}",
            group_id=group,
            name=f"{task}-{model}-{scale}-seed{seed}",
            params=settings | {"seed": seed},
            tags=tags,
        )
        run_id = store.start_cell(header)
        points = [
            Point(name, value, 1, step)
            for step, loss in (losses or {}).items()
            for name, value in (
                (schema.TRAIN_LOSS, loss),
                (schema.VALIDATION_LOSS, loss + 0.1),
                (schema.VALIDATION + metric, loss),
            )
        ]
        if test is not None:
            summary = {
                schema.TEST + metric: test,
                schema.BEST + metric: test - 0.01,
                schema.BASELINE + metric: 6.25 if metric == "accuracy" else 1.97,
                schema.PARAMETERS: 123_456,
                schema.TRAIN_SECONDS: 10.0,
                schema.TOKENS_PER_SECOND: 2500.0,
            }
            points += [Point(name, value, 1, 100) for name, value in summary.items()]
        store.log_points(run_id, points)
        store.finish(run_id, status)
        return run_id

    return write
