from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.training.callbacks import Callback
from seqsuite.experiments.training.rhythm import CheckpointRhythm


def test_checkpoints_go_by_steps_or_by_time() -> None:
    by_steps = CheckpointRhythm(steps=3)
    by_steps.start(10)
    assert [by_steps.is_due(step) for step in (11, 12, 13)] == [False, False, True]
    by_steps.saved(13)
    assert not by_steps.is_due(15)
    now = 0.0
    by_time = CheckpointRhythm(seconds=60, clock=lambda: now)
    now = 59.0
    assert not by_time.is_due(1)
    now = 60.0
    assert by_time.is_due(1)
    by_time.saved(1)
    assert not by_time.is_due(2)
    now = 118.0  # one that takes two seconds to write is begun two seconds early, to be whole in time
    assert not by_time.is_due(2, writing=1.9)
    assert by_time.is_due(2, writing=2.0)
    now = 60 + 29.0
    assert not by_time.is_due(2, writing=100.0)


def test_by_steps_a_checkpoint_is_whole_before_training_goes_on(make_trainer) -> None:
    whole = []

    class Look(Callback):
        def stepped(self, step, loss, speed) -> None:
            newest = trainer.parts.checkpoints.newest()
            whole.append(0 if newest is None else int(newest.name[-9:]))

    trainer = make_trainer(callbacks=[Look()], checkpoint_every=2, train__steps="7", train__eval_every="7")
    trainer.train(InterruptionFlag())
    assert whole == [0, 0, 2, 2, 4, 4, 6]
