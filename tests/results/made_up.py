"""Made-up runs that follow known laws."""

from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.reader import Points
from seqsuite.experiments.tracking.store import CellRun, flatten


def run(metrics: dict[str, float], **settings: object) -> CellRun:
    """Return a finished run of these settings (``train__steps=5``), with these test metrics and others."""
    given = {key.replace("__", "."): str(value) for key, value in settings.items()}
    config = resolve({"scale": "cpu", **given})
    task = config.make_task()
    return CellRun(
        run_id=config.cell_id(""),
        name=config.title,
        status="FINISHED",
        params=flatten(config.model_dump(mode="json")),
        metrics=metrics,
        tags={
            schema.TAG_KIND: "cell",
            schema.TAG_CELL: config.cell_id(""),
            schema.TAG_GROUP: config.group_id(""),
            schema.TAG_TASK: given["task"],
            schema.TAG_MODEL: given["model"],
            schema.TAG_SCALE: "cpu",
            schema.TAG_SEED: given.get("seed", "0"),
            schema.TAG_METRIC: task.metrics[0].name,
            schema.TAG_METRIC_UNIT: task.metrics[0].unit,
            schema.TAG_HIGHER_IS_BETTER: str(task.metrics[0].higher_is_better).lower(),
            schema.TAG_VERSION: "0.1.0",
            schema.TAG_EVALS: "all: 512 x 256",
        },
        start_time=0.0,
    )


def trained(parameters: float, flops: float, tokens: float = 1e6) -> dict[str, float]:
    """Return what a run of 100 seconds records of its training."""
    return {
        schema.PARAMETERS: parameters,
        schema.TRAIN_SECONDS: 100.0,
        schema.TOKENS_PER_SECOND: tokens / 100,
        schema.FLOPS_PER_SECOND: flops / 100,
    }


class Runs:
    """Reads given runs, whose curves are empty."""

    experiment = "made-up"

    def __init__(self, *runs: CellRun) -> None:
        self._runs = runs

    def cells(self) -> list[CellRun]:
        return list(self._runs)

    def get(self, run_id: str) -> CellRun:
        return next(run for run in self._runs if run.run_id == run_id)

    def history(self, run_id: str, metric: str) -> Points:
        return []
