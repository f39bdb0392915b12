"""An MLflow server that dies and comes back: training goes on, and nothing is lost or doubled."""

from pathlib import Path

import pytest

from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.tracking.store import open_store
from seqsuite.experiments.tracking.uploader import Uploader, sync

from ..server import Server, eventually

pytestmark = pytest.mark.slow


def test_an_outage_and_an_end_without_a_server(server: Server, tmp_path: Path, header: RunHeader) -> None:
    folder = tmp_path / "runs" / "cell"
    steps = iter(range(10_000))
    with Journal.open(folder) as journal:
        uploader = Uploader(journal, open_store)
        uploader.start()

        def train(number: int) -> None:
            for _, step in zip(range(number), steps, strict=False):
                journal.metrics({"train/loss": 1.0 / (step + 1), "test/length_256/accuracy": 0.5}, step)

        def arrived() -> int | None:
            return open_store().last_steps(journal.run_id or "").get("train/loss")

        journal.start(header, None)
        train(1500)
        eventually(lambda: journal.run_id is not None and arrived() == 1499, 60)
        server.kill()
        train(100)
        eventually(lambda: uploader.error is not None, 60)
        assert "no server answers" in (uploader.error or "")
        train(100)
        server.start()
        eventually(lambda: arrived() == 1699, 60)
        server.kill()
        train(100)
        (folder / "best").mkdir()
        (folder / "best" / "config.json").write_text("{}")
        journal.artifact(folder / "best" / "config.json", "last")
        journal.model(folder / "best", name="dna-mamba", params={})
        journal.end("FINISHED")
        assert uploader.close(1) > 100
        run_id = journal.run_id
    assert run_id is not None
    server.start()
    store = open_store()
    sync(folder, store)
    for key in ("train/loss", "test/length_256/accuracy"):
        points = store.client.get_metric_history(run_id, key)
        assert sorted(point.step for point in points) == list(range(1800))
    assert [(run.run_id, run.status) for run in store.search("")] == [(run_id, "FINISHED")]
    assert (store.model_folder(run_id, tmp_path / "copy") / "config.json").read_text() == "{}"
    assert not folder.exists()
