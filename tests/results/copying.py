"""A study of selective copying, and made-up runs of it."""

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import CellRun, flatten
from seqsuite.results.studies import Study

STUDY = Study.model_validate(
    {
        "title": "Copying",
        "source": "A paper, Table 1",
        "finding": "S6 is ahead.",
        "grids": {
            "cpu": ["task=selective_copying model=mamba,s4d seed=0..2"],
            "smoke": ["task=selective_copying model=mamba,s4d"],
        },
        "pivot": {"rows": "model"},
        "expected": [
            {
                "task": "selective_copying",
                "better": {"model.mixer": "s6"},
                "worse": {"model.mixer": ["s4", "s4d"]},
                "within": ["task.length"],
            }
        ],
    }
)
MAMBA, S4D = (95.0, 97.0, 96.0), (80.0, 85.0, 84.0)


def run(model: str, seed: int, accuracy: float, status: str = "FINISHED", **settings: str) -> CellRun:
    keys = {"task": "selective_copying", "model": model, "seed": str(seed), **settings}
    config = resolve({key.replace("__", "."): value for key, value in keys.items()})
    metrics = {"test/accuracy": accuracy, schema.TRAIN_SECONDS: 10.0 + seed, "baseline/accuracy": 7.14}
    return CellRun(
        run_id="-".join([model, str(seed), status, *settings.values()]),
        name=config.title,
        status=status,
        params=flatten(config.model_dump(mode="json")),
        metrics=metrics if status == "FINISHED" else {},
        tags={
            schema.TAG_KIND: "cell",
            schema.TAG_CELL: config.cell_id(""),
            schema.TAG_GROUP: config.group_id(""),
            schema.TAG_TASK: "selective_copying",
            schema.TAG_MODEL: model,
            schema.TAG_SCALE: config.scale,
            schema.TAG_SEED: str(seed),
            schema.TAG_METRIC: "accuracy",
            schema.TAG_METRIC_UNIT: "%",
            schema.TAG_HIGHER_IS_BETTER: "true",
            schema.TAG_BASELINE: "chance",
            schema.TAG_VERSION: "0.1.0",
        },
        start_time=float(seed),
    )


class Runs:
    """A reader of given runs."""

    experiment = "tests"

    def __init__(self, *runs: CellRun) -> None:
        self._runs = list(runs)

    def cells(self) -> list[CellRun]:
        return self._runs

    def get(self, run_id: str) -> CellRun:
        return next(run for run in self._runs if run.run_id == run_id)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        return [(1, 30.0), (2, 60.0)] if metric == "validation/accuracy" else []


def runs(mamba: tuple[float, ...] = MAMBA, s4d: tuple[float, ...] = S4D, **settings: str) -> list[CellRun]:
    scores = {"mamba": mamba, "s4d": s4d}
    return [
        run(model, seed, score, **settings)
        for model, of_seeds in scores.items()
        for seed, score in enumerate(of_seeds)
    ]
