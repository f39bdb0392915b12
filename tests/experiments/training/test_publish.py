"""What a finished cell is published with: its metrics, and samples that depend on their number only."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from Bio import SeqIO

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.interruption import InterruptionFlag
from seqsuite.experiments.tracking.journal import Journal
from seqsuite.experiments.training import publish as module
from seqsuite.experiments.training.confusion import confusion_matrix, write_confusion
from seqsuite.experiments.training.publish import Published, peak_memory, publish, write_sample
from seqsuite.experiments.training.trainer import Trainer
from seqsuite.models.flops import training_flops
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.tasks.base import IGNORE, Baseline, ModelIO
from seqsuite.tasks.dna import DNA
from seqsuite.tasks.text import Text

from .curves import train
from .five_tokens import FiveTokens

LENGTH = 70


class Told(Text):
    """Text with two baselines, and with samples that are measured."""

    measured: list[np.ndarray]

    def baselines(self, which):
        if which != self.eval_sets(which.split)[0]:
            return []
        value = 1.0 if which.split == "test" else 3.0
        return [Baseline("first", value), Baseline("second", value + 1)]


def numbers(samples: list[np.ndarray], task: Any) -> dict[str, float]:
    task.measured = samples
    return {"count": len(samples)}


def model_of(trainer: Trainer) -> LanguageModel:
    best = trainer.parts.checkpoints.best()
    assert best is not None
    model, _ = load_for_inference(best)
    assert isinstance(model, LanguageModel)
    return model


def made(model: LanguageModel, prompt: np.ndarray, length: int, seed: int) -> list[int]:
    return [int(token) for token in generate(model, [torch.from_numpy(prompt)], length, seed=seed)]


@pytest.fixture
def published(make_trainer, tmp_path: Path) -> Callable[..., tuple[Trainer, Told, Published]]:
    """Return a function that trains a model for two steps and publishes it."""

    def run(judge: Any = None, samples: int = 3) -> tuple[Trainer, Told, Published]:
        file = tmp_path / "text.txt"
        file.write_text("all the words of a long text, one after the other. " * 80)
        task = Told(seed=0, path=file, seqlen=16, eval_examples=4)
        task.sample_metrics = (numbers,)  # type: ignore[misc]
        task.sample_count = samples
        small = {"train__steps": "2", "train__eval_every": "2", "model__d_model": "8", "model__n_layer": "1"}
        trainer, _ = train(make_trainer, task=task, **small)
        progress = trainer.progress
        progress.seconds, progress.waited, progress.tokens = 8.0, 2.0, 80
        told = {"task": "text", "task.path": str(file), "scale": "smoke", "train.eval_batch_size": "2"}
        config = resolve(told | {"run.sample_length": str(LENGTH)})
        with Journal.open(trainer.parts.checkpoints.folder) as journal:
            return trainer, task, publish(trainer, config, "it", journal, InterruptionFlag(), judge)

    return run


def test_a_finished_cell_is_summed_up(published, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "peak_flops", lambda device, precision: 1000.0)
    trainer, task, found = published()
    metrics, name = found.metrics, task.metrics[0].name
    a_second = 10 * training_flops(trainer.parts.model, 16) / 16
    expected = {
        f"best/{name}": trainer.progress.best,
        "best/step": 2.0,
        "train/seconds": 8.0,
        "train/tokens_per_second": 10.0,
        "train/input_wait": 0.25,
        "train/flops_per_second": a_second,
        "train/share_of_peak": a_second / 1000,
        f"baseline/{name}": 1.0,
        f"baseline/first/{name}": 1.0,
        f"baseline/second/{name}": 2.0,
        f"baseline_validation/{name}": 3.0,
        "sample/count": 3.0,
    }
    assert {key: metrics[key] for key in expected} == expected
    assert f"baseline_validation/first/{name}" not in metrics
    model = model_of(trainer)
    assert task.codec is not None
    assert found.sample == task.codec.preview(made(model, task.prompt(), LENGTH, 0), 60)
    # However they were batched, and as long as a training sequence whatever run.sample_length is.
    for number, sample in enumerate(task.measured):
        assert sample.tolist() == [*task.prompt(), *made(model, task.prompt(), 16, number)]


def test_a_sample_metric_that_gives_no_numbers_by_name_is_named(published, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "numbers", lambda samples, task: 3.0)
    with pytest.raises(
        UserError, match="The task Told has the sample metric <lambda>, which returned a value"
    ):
        published()


def test_what_is_ignored_is_in_no_confusion(make_trainer) -> None:
    class Classes(FiveTokens):
        def __init__(self) -> None:
            super().__init__()
            self.io = ModelIO(vocab_size=4, seqlen=5, n_classes=3)

        def targets(self, row, tokens):
            return np.int64(IGNORE if row == 1 else row % 3)

    task = Classes()
    model = make_trainer(task=task).parts.model.eval()
    (which,) = task.eval_sets("test")
    counts = confusion_matrix(model, task, which, batch_size=3, device=torch.device("cpu"))
    assert counts.sum(1).tolist() == [2, 0, 1]


def test_of_judged_samples_eight_are_kept(published) -> None:
    judge = SimpleNamespace(scores=lambda samples: {"judged": len(samples), "length": len(samples[0])})
    trainer, _, found = published(judge, 9)
    assert (found.metrics["sample/judged"], found.metrics["sample/length"]) == (9.0, 16.0)
    kept = sorted(path.stem for path in (trainer.parts.checkpoints.folder / "samples").iterdir())
    assert kept == [f"{number:02d}" for number in range(8)]


def test_samples_that_learned_positions_cut_short_are_named(
    published, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Told, "sample_length", 80)
    published()
    assert "learned positions" not in caplog.text
    monkeypatch.setattr(LanguageModel, "longest_input", 40)
    _, task, _ = published()
    assert {len(sample) for sample in task.measured} == {41}  # the last is never fed
    told = (
        "text-mamba-smoke-seed0: samples are measured at %d tokens, not 80: the model has learned positions"
    )
    assert told % (41 - len(task.prompt())) in caplog.text


def test_a_sample_ends_where_learned_positions_do(make_trainer, tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("all the words of a long text, one after the other. " * 80)
    task = Text(seed=0, path=file, seqlen=80, eval_examples=4)
    model = make_trainer(task=task, model="transformer", model__d_model="8").parts.model.eval()
    assert model.longest_input == 80
    prompt = task.prompt()
    longest = 80 - len(prompt) + 1  # the last is never fed
    for length, count in ((longest - 1, longest - 1), (longest + 1, longest)):
        tokens = write_sample(model, task, length, tmp_path)
        assert tokens == made(model, prompt, count, 0)
    assert (tmp_path / "sample.txt").read_text(errors="replace").startswith(task.codec.decode(prompt))


def test_a_fasta_sample_has_a_copy_that_pages_show_as_text(make_trainer, tmp_path: Path) -> None:
    file = tmp_path / "one.fa"
    file.write_text(">one\n" + "ACGTTGCA" * 200)
    task = DNA(seed=0, path=file, seqlen=16, eval_examples=2)
    model = make_trainer(task=task, model__d_model="8").parts.model.eval()
    write_sample(model, task, LENGTH, tmp_path)
    sample = tmp_path / "sample.fasta"
    assert str(SeqIO.read(sample, "fasta").seq).startswith(task.codec.decode(task.prompt()))
    assert (tmp_path / "sample.fasta.txt").read_text() == sample.read_text()
    assert [path for path in tmp_path.iterdir() if path.stem == "sample"] == [sample]


@pytest.mark.parametrize(("system", "memory"), [("linux", 3072), ("darwin", 3)])
def test_memory_is_told_in_bytes(monkeypatch: pytest.MonkeyPatch, system: str, memory: int) -> None:
    usage = SimpleNamespace(getrusage=lambda who: SimpleNamespace(ru_maxrss=3), RUSAGE_SELF=0)
    monkeypatch.setattr(module, "resource", usage)
    monkeypatch.setattr(module, "sys", SimpleNamespace(platform=system))
    assert peak_memory(torch.device("cpu")) == memory
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5)
    assert peak_memory(torch.device("cuda")) == 5


def test_a_confusion_is_written_as_shares_of_what_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    texts: list[tuple[int, int, str, str]] = []
    shown: list[Any] = []
    monkeypatch.setattr(Axes, "text", lambda _, x, y, text, color, **o: texts.append((x, y, text, color)))
    monkeypatch.setattr(Axes, "imshow", lambda _, image, **options: shown.append((image.tolist(), options)))
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, path: shown.append(figure.get_size_inches().tolist())
    )
    table, picture = write_confusion(np.array([[1, 3], [0, 0]]), ["a", "b"], tmp_path)
    assert table.read_text() == "true,a,b\na,1,3\nb,0,0\n"
    assert picture == tmp_path / "confusion.png"
    shares = [[0.25, 0.75], [0.0, 0.0]]
    assert shown == [(shares, {"vmin": 0, "vmax": 1, "cmap": "Blues"}), [pytest.approx(3.7)] * 2]
    assert texts == [
        (0, 0, "25 %", "black"),
        (1, 0, "75 %", "white"),
        (0, 1, "0 %", "black"),
        (1, 1, "0 %", "black"),
    ]
