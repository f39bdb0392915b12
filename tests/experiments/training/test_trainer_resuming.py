"""Training that goes on: from a checkpoint, and with the state of the sequence before."""

import numpy as np
import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.experiments.interruption import Interrupted, InterruptionFlag
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.tasks.text import Text

from .curves import SETTINGS, Points, train


@pytest.mark.parametrize("settings", [{}, {"train__ema": "0.5"}, {"train__optimizer": "muon"}])
def test_a_resumed_trainer_goes_on_with_the_same_bits(make_trainer, settings) -> None:
    quiet, expected = train(make_trainer, "quiet", **settings)

    class Stop(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            flag.requested = step == 4

    flag, points = InterruptionFlag(), Points()
    stopped = make_trainer("stopped", callbacks=[points], **SETTINGS, **settings)
    with pytest.raises(Interrupted):
        stopped.train(flag, Stop())
    resumed = make_trainer("stopped", callbacks=[points], **SETTINGS, **settings)
    newest = resumed.parts.checkpoints.newest()
    assert newest is not None
    resumed.resume(newest)
    assert resumed.progress.step == 4
    resumed.train(InterruptionFlag())
    for name, value in quiet.parts.model.state_dict().items():
        assert torch.equal(value, resumed.parts.model.state_dict()[name]), name
    for name in (schema.TRAIN_LOSS, schema.VALIDATION_LOSS, schema.GRADIENT_NORM):
        assert points.points[name] == expected[name]


def test_a_checkpoint_of_other_settings_is_refused(make_trainer) -> None:
    trainer, _ = train(make_trainer)
    newest = trainer.parts.checkpoints.newest()
    assert newest is not None
    with pytest.raises(UserError, match=r"cannot be resumed from .*--force"):
        make_trainer("other", **SETTINGS, train__ema="0.5").resume(newest)


@pytest.mark.parametrize("model", ["mamba", "transformer++", "s4"])
def test_carried_state_gives_the_values_of_the_whole_sequence(make_trainer, tmp_path, model) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(bytes(np.random.default_rng(0).integers(97, 123, 4000, dtype=np.uint8)))
    common = {"seed": 0, "path": file, "carry_state": True, "lanes": 2}
    chunked = Text(**common, seqlen=20, eval_examples=8)
    whole = Text(**common, seqlen=80, eval_examples=2)
    trainer = make_trainer("a", task=chunked, model=model, dtype=torch.float64, train__batch_size="2")
    scores = trainer.score("test", InterruptionFlag())
    trainer.parts = type(trainer.parts)(**{**trainer.parts.__dict__, "task": whole})
    assert scores is not None
    expected = trainer.score("test", InterruptionFlag())
    assert expected is not None
    assert chunked.eval_sets("test")[0].rows == 4 * whole.eval_sets("test")[0].rows
    assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-10)


def test_a_state_is_carried_on_from_the_last_of_several_chunks(make_trainer, tmp_path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("all the words of a long text, one after the other. " * 80)
    task = Text(seed=0, path=file, seqlen=15, eval_examples=8, carry_state=True, lanes=8)
    settings = {"task": task, "dtype": torch.float64}
    _, whole = train(make_trainer, "whole", **settings)
    _, chunked = train(make_trainer, "chunked", train__chunk="5", **settings)
    assert list(chunked[schema.TRAIN_LOSS].values()) == pytest.approx(
        list(whole[schema.TRAIN_LOSS].values()), rel=1e-10
    )


def test_training_with_a_carried_state_resumes_exactly(make_trainer, tmp_path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("all the words of a long text, one after the other. " * 80)
    task = Text(seed=0, path=file, seqlen=16, eval_examples=8, carry_state=True, lanes=8)
    _, expected = train(make_trainer, "quiet", task=task)

    class Stop(Callback):
        def stepped(self, step, loss, tokens_per_second) -> None:
            flag.requested = step == 4

    flag, points = InterruptionFlag(), Points()
    with pytest.raises(Interrupted):
        make_trainer("stopped", task=task, callbacks=[points], **SETTINGS).train(flag, Stop())
    resumed = make_trainer("stopped", task=task, callbacks=[points], **SETTINGS)
    newest = resumed.parts.checkpoints.newest()
    assert newest is not None
    resumed.resume(newest)
    resumed.train(InterruptionFlag())
    assert points.points[schema.TRAIN_LOSS] == expected[schema.TRAIN_LOSS]
