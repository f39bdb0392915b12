"""Train steps as graphs: the same steps, and where they cannot be that, a sentence."""

import pytest
import torch

from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training.graphed import why_not
from seqsuite.experiments.training.optimizer import make_optimizer

from ...graph_recorder import Recorder
from .curves import SETTINGS, Points, train


@pytest.mark.parametrize("model", ["mamba", "transformer"])
def test_steps_replayed_as_graphs_are_the_same_steps(make_trainer, model) -> None:
    """By a recorder that replays on the CPU what a CUDA graph would on a GPU."""
    settings = {"model": model, "train__steps": "9", "dtype": torch.float64}
    plain, expected = train(make_trainer, "plain", train__graphs="off", **settings)
    recorder = Recorder()
    graphed, points = train(make_trainer, "graphed", recorder=recorder, **settings)
    assert (recorder.warmed, recorder.recorded) == (3, 1)
    for name in (schema.TRAIN_LOSS, schema.GRADIENT_NORM, schema.VALIDATION_LOSS, schema.LARGEST_LOSS):
        # A graph reads its learning rate from the device, as a float32.
        assert points[name] == pytest.approx(expected[name], rel=1e-7)
    for name, value in plain.parts.model.state_dict().items():
        torch.testing.assert_close(graphed.parts.model.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    again = {**SETTINGS, **settings}
    resumed = make_trainer("graphed", callbacks=[Points()], recorder=Recorder(), **again)
    newest = resumed.parts.checkpoints.newest()
    assert newest is not None
    resumed.resume(newest)
    assert resumed.progress.step == 9


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"train__accumulate": "2"}, "train.accumulate cuts a step into parts"),
        ({"train__precision": "fp16"}, "scales its loss on the host"),
        ({"train__optimizer": "muon"}, "takes its step by itself"),
    ],
)
def test_where_steps_cannot_be_graphs_it_is_said_and_they_are_taken(
    make_trainer, settings, why, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    trainer, _ = train(make_trainer, recorder=recorder, train__graphs="on", **settings)
    assert trainer.progress.step == 6
    assert recorder.warmed == recorder.recorded == 0
    assert why in caplog.text


def test_two_processes_that_train_together_take_no_graphs() -> None:
    config = TrainConfig()
    optimizer = make_optimizer(torch.nn.Linear(2, 2), config)
    assert why_not(config, optimizer, None, world=1) == ""
    assert why_not(config, optimizer, None, world=2) == "several processes train together"


def test_graphs_without_a_gpu_are_a_notice(make_trainer, caplog: pytest.LogCaptureFixture) -> None:
    train(make_trainer, train__graphs="on")
    assert "there is no CUDA device" in caplog.text


def test_steps_that_cannot_be_recorded_are_taken_and_it_is_said_once(
    make_trainer, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(Recorder):
        def record(self, call):
            raise RuntimeError("operation not permitted when stream is capturing")

    _, expected = train(make_trainer, "plain", train__steps="9")
    with caplog.at_level("INFO"):
        _, points = train(make_trainer, "refused", recorder=Refusing(), train__steps="9", train__graphs="on")
    assert points[schema.TRAIN_LOSS] == pytest.approx(expected[schema.TRAIN_LOSS], rel=1e-5)
    assert caplog.text.count("runs without one: operation not permitted") == 1
