"""A cell that is run again: what was finished or kept before counts, unless it is forced."""

from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.interruption import Interrupted
from seqsuite.experiments.tracking import schema, uploader
from seqsuite.experiments.tracking.events import RunHeader
from seqsuite.experiments.tracking.store import Store
from seqsuite.experiments.tracking.uploader import sync

from .cells import cell, cell_run, folder_of, run, series


def test_a_finished_cell_is_skipped(store: Store, tmp_path: Path) -> None:
    first, _ = run(cell(tmp_path), store)
    again, steps = run(cell(tmp_path), store)
    assert (again.outcome, again.run_id, steps) == ("skipped", first.run_id, [])
    assert again.metrics["test/accuracy"] == first.metrics["test/accuracy"]
    assert again.message == ""
    other, _ = run(cell(tmp_path, **{"run.name": "mine"}), store)
    assert (other.run_id, other.message) == (first.run_id, f"as {first.config.title}")


def test_the_data_is_part_of_the_identity(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    settings = {"task": "text", "task.path": str(file), "task.seqlen": "16"}
    file.write_text("many words, many words. " * 40)
    config = cell(tmp_path, **settings, **{"train.steps": "2"})
    first, _ = run(config, store)
    file.write_text("other words, other words. " * 40)
    second, steps = run(config, store)
    assert (first.outcome, second.outcome, len(steps)) == ("finished", "finished", 2)
    assert store.get(first.run_id).tags[schema.TAG_DATA] != store.get(second.run_id).tags[schema.TAG_DATA]


def test_a_run_of_a_version_with_fewer_options_is_the_cell_s(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path)
    params = config.model_dump(mode="json")
    del params["train"]["ema"]
    tags = {schema.TAG_SCALE: config.scale, schema.TAG_SEED: str(config.seed)}
    old = store.start_cell(RunHeader("of another version", "group", config.title, params, tags, None))
    store.finish(old, "FINISHED")
    assert (run(config, store)[0].outcome, run(config, store)[0].run_id) == ("skipped", old)
    other, _ = run(config.model_copy(update={"seed": config.seed + 1}), store)
    assert other.outcome == "finished"
    assert run(config, store, force=True)[0].outcome == "finished"


def test_a_forced_run_that_was_interrupted_goes_on_without_force(store: Store, tmp_path: Path) -> None:
    """The command that is shown then has no --force, which would begin anew."""
    config = cell(tmp_path)
    quiet, _ = run(config, store)
    with pytest.raises(Interrupted):
        run(config, store, 5, force=True)
    again, steps = run(config, store)
    assert (again.outcome, again.run_id != quiet.run_id) == ("finished", True)
    assert steps == [6, 7, 8]
    assert run(config, store)[0].run_id == again.run_id
    assert series(store, again.run_id) == series(store, quiet.run_id)


def test_what_was_finished_without_a_store_has_its_metrics(tmp_path: Path) -> None:
    first, _ = run(cell(tmp_path), None)
    again, _ = run(cell(tmp_path), None)
    assert again.outcome == "skipped"
    assert again.metrics["test/accuracy"] == first.metrics["test/accuracy"]


def test_a_cell_without_a_store_is_kept_until_it_is_sent(store: Store, tmp_path: Path) -> None:
    config = cell(tmp_path)
    result, _ = run(config, None)
    assert result.outcome == "finished"
    assert result.unsent > 0
    assert store.find_cell(config.cell_id("")) is None
    sent, steps = run(config, store)
    assert (sent.outcome, sent.unsent, steps) == ("skipped", 0, [])
    assert cell_run(store, config).status == "FINISHED"
    assert not folder_of(config).exists()


def test_where_mlflow_is_gone_a_cell_is_run_and_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was there when the grid began."""
    away = Store(store.uri, store.experiment_id, store.experiment, None)

    def refuse(*_: object, **__: object) -> None:
        raise UserError("no server answers there.")

    for name in ("search", "find_journal", "start_cell", "log_points"):
        monkeypatch.setattr(away, name, refuse)
    monkeypatch.setattr("seqsuite.experiments.cell.ASKING_SECONDS", 0.0)
    monkeypatch.setattr(uploader, "GIVE_UP_SECONDS", 0.0)
    config = cell(tmp_path)
    result, steps = run(config, away)
    assert (result.outcome, result.run_id, len(steps)) == ("finished", "", 8)
    assert result.unsent > 8
    assert sync(folder_of(config), store) == result.unsent
    assert cell_run(store, config).status == "FINISHED"
