"""Which species: uniform draws, fixed evaluation, segments that are known, and the alignment's splits."""

import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.tasks.base import Baseline
from seqsuite.tasks.great_apes import GreatApes
from seqsuite.tasks.sources.fasta import N
from seqsuite.tasks.sources.maf import aligned_stretches


@pytest.fixture(scope="module")
def genomes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bonobo of A and C, two chromosomes of which one is mostly N, and a human of G and T."""
    folder = tmp_path_factory.mktemp("genomes")
    rng = np.random.default_rng(0)

    def random(letters: str, count: int) -> str:
        return "".join(rng.choice(list(letters), count))

    (folder / "bonobo").mkdir()
    (folder / "bonobo" / "1.fa").write_text(f">1\n{'N' * 900}{random('AC', 1100)}\n")
    (folder / "bonobo" / "2.fa").write_text(f">2\n{random('A', 8000)}\n>Y\n{'N' * 1999}A\n")
    (folder / "human.fa").write_text(f">1\n{random('GT', 3000)}\n")
    return folder


def test_species_are_uniform_and_segments_theirs_and_known(genomes: Path):
    task = GreatApes(seed=0, seqlen=64, path=genomes)
    assert task.class_names == ("bonobo", "human")
    assert task.io.n_classes == 2
    batch = task.train_batch(range(2000))
    assert abs(batch.targets.mean() - 0.5) < 0.04
    known = batch.inputs != N
    assert (known.mean(axis=1) >= 0.5).all()
    for species, bases in ((0, {0, 1}), (1, {2, 3})):
        found = batch.inputs[batch.targets == species]
        assert set(np.unique(found)) - {N} <= bases
    # Chromosomes are as likely as one another, however long: 2 has only A.
    of_second = (batch.inputs[batch.targets == 0] != 1).all(axis=1).mean()
    assert abs(of_second - 0.5) < 0.05


def test_half_known_is_known_enough(tmp_path: Path) -> None:
    """Of a genome of which every segment is half N, segments are from everywhere, not the first alone."""
    rng = np.random.default_rng(0)
    for name in ("bonobo", "human"):
        text = "".join("".join(rng.choice(list("ACGT"), 4)) + "NNNN" for _ in range(500))
        (tmp_path / f"{name}.fa").write_text(f">1\n{text}\n")
    batch = GreatApes(seed=0, seqlen=8, path=tmp_path).train_batch(range(60))
    assert ((batch.inputs != N).sum(axis=1) == 4).all()
    assert len(np.unique(batch.inputs, axis=0)) > 30


def test_rows_are_pure_and_evaluation_is_the_same_for_every_seed(genomes: Path):
    one, other = GreatApes(seed=0, seqlen=64, path=genomes), GreatApes(seed=1, seqlen=64, path=genomes)
    assert one.fingerprint() == other.fingerprint()
    np.testing.assert_array_equal(one.train_batch(range(8)).inputs[5:], one.train_batch(range(5, 8)).inputs)
    assert (one.train_batch(range(8)).inputs != other.train_batch(range(8)).inputs).any()
    which = one.eval_sets("test")[0]
    np.testing.assert_array_equal(
        one.eval_batch(which, range(40)).inputs, other.eval_batch(which, range(40)).inputs
    )


def test_sets_by_species_and_length(genomes: Path):
    task = GreatApes(seed=0, seqlen=64, path=genomes, longest=300, eval_examples=20)
    sets = {which.name: which for which in task.eval_sets("test")}
    assert list(sets) == ["all", "species_bonobo", "species_human", "length_256"]
    everything = task.eval_batch(sets["all"], range(20))
    human = task.eval_batch(sets["species_human"], range(10))
    assert (human.targets == 1).all()
    np.testing.assert_array_equal(human.inputs, everything.inputs[everything.targets == 1])
    assert task.eval_batch(sets["length_256"], range(2)).inputs.shape == (2, 256)
    assert task.io.longest == 256
    with pytest.raises(UserError, match="no segment of 5000 bases"):
        GreatApes(seed=0, seqlen=5000, path=genomes).train_batch(range(4))


def test_the_word_baseline_is_of_all_training_data_and_the_same_for_every_seed(tmp_path: Path) -> None:
    """It was counted in the seed's rows, of other places for each species: noise on the little there is."""
    rng = np.random.default_rng(0)
    for name, weights in (("bonobo", (3, 3, 2, 2)), ("human", (2, 2, 3, 3))):
        letters = "".join(rng.choice(list("ACGT"), 20_000, p=np.array(weights) / 10))
        (tmp_path / f"{name}.fa").write_text(f">1\n{letters}\n")
    found = []
    for seed in (0, 1):
        task = GreatApes(seed=seed, seqlen=32, path=tmp_path)
        _, words, _ = task.baselines(task.eval_sets("test")[0])
        assert words.name == "6-letter words"
        found.append(words.value)
    assert found[0] == found[1]
    assert 70 < found[0] < 100


def test_what_an_assemblys_gaps_tell_is_a_baseline(tmp_path: Path) -> None:
    """Single letters that sequencing could not tell stand in one species only."""
    rng = np.random.default_rng(0)
    for name, gap in (("bonobo", "N"), ("human", "A")):
        pieces = ["".join(rng.choice(list("ACGT"), 15)) for _ in range(2000)]
        (tmp_path / f"{name}.fa").write_text(">1\n" + gap.join(pieces) + "\n")
    task = GreatApes(seed=0, seqlen=64, path=tmp_path)
    assert task.baselines(task.eval_sets("test")[0])[2] == Baseline("lengths of gaps", 100.0)


def test_the_docs_table_of_words_tells_what_can_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two species of which one has a letter less: all segments that do not overlap, and none twice."""
    rng = np.random.default_rng(0)
    text = "##maf version=1\n"
    for number in range(40):
        rows = ["".join(rng.choice(list(letters), 100)) for letters in ("ACGT", "ACG")]
        lines = [
            f"s {name}.22 {2000 * number} 100 + 99999 {row}" for name, row in zip("ab", rows, strict=True)
        ]
        text += "\n".join(["a", *lines, "", ""])
    (tmp_path / "a.maf").write_text(text)
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "great_apes.py"))
    script["main"](["--words", "1", "--lengths", "30", "--path", str(tmp_path / "a.maf")])
    _, _, row, *confusion = capsys.readouterr().out.splitlines()
    assert row.startswith("| words of 1 | 30 | 24 | 4 | 100.00 | 100.00 to 100.00 |")
    assert confusion[-2].split() == ["a", "12", "0"]
    assert confusion[-1].split() == ["b", "0", "12"]
    script["main"](["--gaps", "--lengths", "30", "--path", str(tmp_path / "a.maf")])
    _, _, row, *_ = capsys.readouterr().out.splitlines()
    assert row.startswith("| gaps | 30 | 24 | 4 | 50.00 | 50.00 to 50.00 |")  # there are none

    class HasT(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.stack([(tokens == 3).sum(1), torch.ones(len(tokens))], dim=1)

    monkeypatch.setattr("seqsuite.api.load", {"mine": HasT()}.__getitem__)
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "great_apes.py"))
    script["main"](["--model", "mine", "--lengths", "30", "--path", str(tmp_path / "a.maf")])
    _, _, row, *_ = capsys.readouterr().out.splitlines()
    assert row.startswith("| mine | 30 | 24 | 4 | 100.00 | 100.00 to 100.00 |")


def test_the_page_tells_how_far_a_letter_reaches(capsys: pytest.CaptureFixture[str]) -> None:
    """In a state space model it is forgotten slowly, the slower the smaller the steps."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "reach_of_a_letter.py"))
    script["main"](["--distances", "20,40"])
    _, _, *rows = capsys.readouterr().out.splitlines()
    kept = {}
    for row in rows:
        name, *changes = (cell.strip() for cell in row.strip("|").split("|"))
        near, far = (float(change) for change in changes)
        kept[name] = far / near
    assert list(kept) == ["mamba", "mamba, small steps", "s4", "hyena"]
    assert kept["mamba"] < kept["mamba, small steps"]


def block(start: int, letters: str) -> str:
    size = len(letters.replace("-", ""))
    return f"a\ns Hsap.22 {start} {size} + 9999 {letters}\ns Ptro.22 {start} {size} + 9999 {letters}\n\n"


def test_an_alignments_stretches_are_joined_within_a_split(tmp_path: Path):
    blocks = [block(0, "AC-GT" * 20), block(85, "ACGGT" * 20), block(9000, "TTTTT" * 20)]
    blocks += [block(9100 + 100 * number, "GGGGG" * 20) for number in range(7)]
    (tmp_path / "a.maf").write_text("##maf version=1\n" + "".join(blocks))
    stretches = aligned_stretches(tmp_path / "a.maf")
    human = stretches["train"]["human"]
    assert [len(stretch) for stretch in human] == [80 + 5 + 100, 600]
    assert (human[0][80:85] == N).all()
    assert [len(stretch) for stretch in stretches["validation"]["chimpanzee"]] == [100]
    assert [len(stretch) for stretch in stretches["test"]["human"]] == [100]
    task = GreatApes(seed=0, seqlen=32, path=tmp_path / "a.maf")
    assert task.class_names == ("chimpanzee", "human")


def test_without_the_alignment_it_says_what_to_install(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("seqsuite.tasks.sources.maf.EXAMPLE", tmp_path / "none")
    with pytest.raises(UserError, match="apt install maffilter-examples"):
        GreatApes(seed=0)


def test_a_chromosome_as_long_as_a_segment_is_one(tmp_path: Path) -> None:
    """Four fifths of 40 letters are for training."""
    for name, letters in (("bonobo", "ACGT" * 10), ("human", "TTGA" * 10)):
        (tmp_path / f"{name}.fa").write_text(f">1\n{letters}\n")
    assert set(GreatApes(seed=0, seqlen=32, path=tmp_path).train_batch(range(20)).targets) == {0, 1}
    with pytest.raises(UserError, match="33"):
        GreatApes(seed=0, seqlen=33, path=tmp_path).train_batch(range(20))


@pytest.mark.parametrize(
    ("longest", "lengths"), [(None, []), (63, []), (64, [64]), (255, [64]), (256, [64, 256])]
)
def test_lengths_are_fourfold_up_to_the_longest(
    genomes: Path, longest: int | None, lengths: list[int]
) -> None:
    task = GreatApes(seed=0, seqlen=16, path=genomes, longest=longest, eval_examples=5)
    sets = [(which.name, which.rows, which.seqlen) for which in task.eval_sets("test")]
    assert sets == [
        ("all", 5, 16),
        ("species_bonobo", 2, 16),
        ("species_human", 2, 16),
        *((f"length_{length}", 5, length) for length in lengths),
    ]
    assert [which.name for which in task.eval_sets("validation")] == ["all"]
    assert task.io.longest == max([16, *lengths])


def test_each_species_has_a_row_at_least_and_chance_is_one_of_them(genomes: Path) -> None:
    task = GreatApes(seed=0, seqlen=16, path=genomes, eval_examples=1)
    assert [which.rows for which in task.eval_sets("test")] == [1, 1, 1]
    assert task.baselines(task.eval_sets("test")[0])[0] == Baseline("chance", 50.0)
    assert task.describe() == f"{genomes}: bonobo 12,000 bases, human 3,000 bases"


@pytest.mark.parametrize(
    ("seqlen", "at", "known", "segment"),
    [
        (8, 101, "ACGT", "NNNACGTN"),  # pieces are looked at a quarter of their length apart
        (8, 796, "ACGT", "NNNNACGT"),  # the last one of the training part
        (4, 101, "AC", "NNAC"),
        (3, 101, "AC", "NAC"),
    ],
)
def test_of_a_genome_of_which_little_is_known_segments_are_of_that(
    tmp_path: Path, seqlen: int, at: int, known: str, segment: str
) -> None:
    letters = "N" * at + known + "N" * (1000 - at - len(known))
    for name in ("bonobo", "human"):
        (tmp_path / f"{name}.fa").write_text(f">1\n{letters}\n")
    inputs = GreatApes(seed=0, seqlen=seqlen, path=tmp_path).train_batch(range(40)).inputs
    found = Counter("".join("ACGTN"[base] for base in row) for row in inputs)
    assert found.most_common(1)[0][0] == segment
    assert all(2 * (seqlen - text.count("N")) >= seqlen for text in found)


def test_one_species_is_none_to_tell_apart(tmp_path: Path) -> None:
    (tmp_path / "human.fa").write_text(">1\nACGT\n")
    with pytest.raises(UserError) as error:
        GreatApes(seed=0, path=tmp_path)
    assert str(error.value) == f"{tmp_path} has one species only: give two or more to tell apart."
