"""Which key a wrong one most likely stands for."""

import pytest

from seqsuite.experiments.config.hints import nearest_key

TRAIN = ["train.steps", "train.learning_rate", "train.batch_size", "train.beta1"]
ALL = ["model.n_layer", "run.steps", "task.seqlen", "task.eval_batch", "task.lr", *TRAIN]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("train.seqlen", "task.seqlen"),
        ("steps", "train.steps"),  # of its own section before others
        ("train.bs", "train.batch_size"),
        ("train.eb", "task.eval_batch"),
        ("train.lr", "task.lr"),  # the same word anywhere before initials
        ("train.step", "train.steps"),  # by its spelling
        ("train.leanring_rate", "train.learning_rate"),
        ("zzz", None),
        ("model.n_layer", None),
    ],
)
def test_the_same_word_is_meant_before_initials_and_these_before_spelling(
    key: str, meant: str | None
) -> None:
    assert nearest_key(key, TRAIN, ALL) == ("" if meant is None else f" Did you mean {meant!r}?")
