import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag

from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Reader, StoreReader, open_reader
from seqsuite.experiments.tracking.schema import FinalStatus
from seqsuite.experiments.tracking.store import Store, open_store

Record = Callable[..., str]
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
def reader(store: Store) -> Reader:
    """A reader of the test's own experiment, as ``seqsuite results`` opens it."""
    return open_reader(store.experiment)


@pytest.fixture
def slow_reader(store: Store) -> Reader:
    """The same through MLflow, as for a server."""
    return StoreReader(store)


@pytest.fixture
def record(store: Store) -> Record:
    """Record a cell as the trainer does, and return its run's id."""

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
        validated: Callable[[int], bool] = lambda step: True,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
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
        all_tags = {
            schema.TAG_KIND: "cell",
            schema.TAG_CELL: f"{group} seed={seed} {tags}",
            schema.TAG_GROUP: f"{group} {tags}",
            schema.TAG_TASK: task,
            schema.TAG_MODEL: model,
            schema.TAG_SCALE: scale,
            schema.TAG_SEED: str(seed),
            schema.TAG_METRIC: metric,
            schema.TAG_HIGHER_IS_BETTER: "true" if metric == "accuracy" else "false",
            schema.TAG_BASELINE: "chance" if metric == "accuracy" else "unigram entropy",
            schema.TAG_VERSION: "0.1.0",
            **(tags or {}),
        }
        points = [
            (name, value, step)
            for step, loss in (losses or {}).items()
            for name, value in {
                schema.TRAIN_LOSS: loss,
                schema.VALIDATION_LOSS: loss + 0.1,
                schema.VALIDATION + metric: loss,
            }.items()
            if name == schema.TRAIN_LOSS or validated(step)
        ]
        if test is not None:
            summary = {
                schema.TEST + metric: test,
                schema.BEST + metric: test - 0.01,
                schema.BASELINE + metric: 6.25 if metric == "accuracy" else 1.97,
                schema.BASELINE_VALIDATION + metric: 6.5 if metric == "accuracy" else 1.93,
                schema.PARAMETERS: 123_456,
                schema.TRAIN_SECONDS: 10.0 + seed,
                schema.TOKENS_PER_SECOND: 2500.0,
                **(metrics or {}),
            }
            points += [(name, value, 100) for name, value in summary.items()]
        client, run_name = store.client, f"{task}-{model}-{scale}-seed{seed}"
        run_id: str = client.create_run(store.experiment_id, run_name=run_name).info.run_id
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, 1, step) for name, value, step in points],
            params=[Param(key, _recorded(value)) for key, value in (settings | {"seed": seed}).items()],
            tags=[RunTag(key, value) for key, value in all_tags.items()],
        )
        client.set_terminated(run_id, status)
        return run_id

    return write


def _recorded(value: object) -> str:
    """Return a setting as the store writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


@pytest.fixture(scope="module")  # while it is open, no other test can run an event loop
def browser() -> Iterator[Any]:
    """Chromium; where it is not installed, the tests that ask for it are skipped."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page at an address; at the end, nothing was said on the console of any."""
    said: list[str] = []
    contexts = []

    def opened(address: str, width: int = 1600, scheme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
