"""Trains the small model of these tests, and keeps the points of its curves."""

from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.training.callbacks import Callback


class Points(Callback):
    """Keeps every point of the training curve, by name and step."""

    def __init__(self) -> None:
        self.points: dict[str, dict[int, float]] = {}

    def logged(self, step, metrics) -> None:
        for name, value in metrics.items():
            self.points.setdefault(name, {})[step] = value


SETTINGS = {"train__steps": "6", "train__eval_every": "3", "train__batch_size": "8", "train__log_every": "1"}


def train(make_trainer, folder: str = "run", **settings):
    points = Points()
    callbacks = [points, *settings.pop("callbacks", ())]
    trainer = make_trainer(folder, callbacks=callbacks, **{**SETTINGS, **settings})
    trainer.train(InterruptionFlag())
    return trainer, points.points
