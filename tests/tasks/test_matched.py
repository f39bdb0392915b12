"""The same places of several genomes: of every species, known enough, and around gaps where that is asked."""

from pathlib import Path

import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.great_apes import GreatApes
from seqsuite.tasks.matched import WORDS, MatchedPlaces
from seqsuite.tasks.random import row_words
from seqsuite.tasks.sources.fasta import N, Record

from .alignments import human_and_chimpanzee, write_maf


def letters(seed: int, length: int) -> Record:
    return np.random.default_rng(seed).integers(0, 4, length).astype(np.uint8)


def without(genome: Record, *places: slice) -> Record:
    found = genome.copy()
    for place in places:
        found[place] = N
    return found


def drawn(places: MatchedPlaces, count: int = 200) -> Record:
    """Return segments (places, species, L)."""
    return np.stack([places.cut(words) for words in row_words(0, "train", range(count), WORDS)])


def test_a_place_is_the_same_in_every_species() -> None:
    """Genomes that differ by what was inserted are cut at the same share of the way."""
    genome = letters(0, 1000)
    segments = drawn(MatchedPlaces([[genome, letters(1, 50)], [genome, letters(2, 80)]], 64, 0.0))
    np.testing.assert_array_equal(segments[:, 0], segments[:, 1])
    whole = genome.tobytes()
    starts = sorted(whole.index(segment.tobytes()) for segment in segments[:, 0])
    assert starts[0] < 40
    assert starts[-1] > 1000 - 64 - 40


def test_every_start_is_drawn_and_places_are_as_many_as_a_stretch_has() -> None:
    """A stretch with as many starts again is drawn twice as often; one without any never."""
    stretches = [letters(0, 20), letters(1, 30), letters(2, 9)]
    segments = drawn(MatchedPlaces([stretches, stretches], 11, 0.0), 3000)[:, 0]
    first = [stretches[0].tobytes().find(segment.tobytes()) for segment in segments]
    second = [stretches[1].tobytes().find(segment.tobytes()) for segment in segments]
    assert set(first) == {-1, *range(10)}
    assert set(second) == {-1, *range(20)}
    assert abs(np.mean([start >= 0 for start in first]) - 1 / 3) < 0.03


def test_a_segment_that_is_mostly_unknown_in_any_species_is_drawn_again() -> None:
    genome = letters(0, 400)
    half = without(genome, slice(200, 400))
    segments = drawn(MatchedPlaces([[genome], [half]], 32, 0.0))
    assert (segments[:, 1] != N).mean(axis=1).min() >= 0.5
    all_unknown = np.full(400, N, np.uint8)
    assert (drawn(MatchedPlaces([[all_unknown], [genome]], 32, 0.0), 5)[:, 0] == N).all()  # there is no other


def test_near_gaps_is_the_share_of_places_where_one_species_has_a_gap_of_its_own() -> None:
    """A gap that all have, as between two blocks of an alignment, is none; nor is one at an end."""
    genome = without(letters(0, 5000), slice(0, 7), slice(3000, 3005))
    own = without(genome, slice(1000, 1001), slice(4000, 4003))
    species = [[genome], [own], [genome]]
    for share in (1.0, 0.5, 0.0):
        segments = drawn(MatchedPlaces(species, 32, share), 600)
        have = (segments[:, 1] == N).sum(axis=1) > (segments[:, 0] == N).sum(axis=1)
        chance = 2 * 32 / 5000
        assert abs(have.mean() - (share + (1 - share) * chance)) < 0.06
    segments = drawn(MatchedPlaces(species, 32, 1.0), 2000)
    lone = (segments[:, 1] == N).sum(axis=1) == 1
    where = np.flatnonzero(segments[lone, 1] == N) % 32
    assert set(where) == set(range(32))  # a gap is anywhere in its segment
    np.testing.assert_array_equal(segments[:, 0], segments[:, 2])


def test_a_gap_at_the_edge_of_a_stretch_has_whole_segments() -> None:
    genome = letters(0, 40)
    segments = drawn(MatchedPlaces([[without(genome, slice(1, 2))], [genome]], 32, 1.0))
    assert segments.shape == (200, 2, 32)
    assert (segments[:, 0] == N).any()
    exact = drawn(MatchedPlaces([[without(genome[:32], slice(1, 2))], [genome[:32]]], 32, 1.0), 3)
    assert (exact[:, 0, 1] == N).all()


@pytest.mark.parametrize(
    ("species", "length", "near_gaps", "message"),
    [
        ([[letters(0, 50)], [letters(0, 0)]], 8, 0.0, "no place of 8 bases in every species"),
        ([[letters(0, 50)], [letters(0, 40)]], 41, 0.0, "no place of 41 bases in every species"),
        (
            [[letters(0, 50)], [letters(0, 50)]],
            8,
            0.5,
            "No species has a gap of a length that",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(
    species: list[list[Record]], length: int, near_gaps: float, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        MatchedPlaces(species, length, near_gaps)


def alignment(folder: Path) -> Path:
    """Blocks of a human and of a chimpanzee that differs from it by a letter that stands alone."""
    blocks = human_and_chimpanzee(np.random.default_rng(0), range(0, 10_000, 1000))
    return write_maf(folder / "a.maf", blocks)


def test_rows_of_great_apes_are_one_species_after_another_whatever_the_batch(tmp_path: Path) -> None:
    task = GreatApes(seed=0, seqlen=64, path=alignment(tmp_path), matched=True, near_gaps=1.0)
    batch = task.train_batch(range(200))
    assert batch.targets.tolist() == [0, 1] * 100
    unknown = (batch.inputs == N).sum(axis=1)
    assert (unknown[0::2] - unknown[1::2]).tolist() == [1] * 100  # the chimpanzee's
    for rows in (range(7), range(7, 8), range(11, 30)):
        part = task.train_batch(rows)
        np.testing.assert_array_equal(part.inputs, batch.inputs[rows.start : rows.stop])
        np.testing.assert_array_equal(part.targets, batch.targets[rows.start : rows.stop])
    other = GreatApes(seed=1, seqlen=64, path=alignment(tmp_path), matched=True, near_gaps=1.0)
    assert (other.train_batch(range(200)).inputs != batch.inputs).any()


def test_species_that_miss_different_blocks_are_still_at_the_same_places(tmp_path: Path) -> None:
    """As many blocks each, but others: once the first of one was shown beside the first of the other."""
    random, blocks = np.random.default_rng(0), []
    for number in range(30):
        row = "".join(random.choice(list("ACGT"), 200))
        missing = {3: "Ptro", 9: "Hsap", 12: "Ggor"}.get(number)
        blocks.append((250 * number, {name: row for name in ("Hsap", "Ptro", "Ggor") if name != missing}))
    write_maf(tmp_path / "a.maf", blocks)
    task = GreatApes(seed=0, seqlen=64, path=tmp_path / "a.maf", matched=True)
    inputs = task.train_batch(range(300)).inputs.reshape(100, 3, 64)
    np.testing.assert_array_equal(inputs, np.repeat(inputs[:, :1], 3, axis=1))


def test_evaluation_of_great_apes_stays_as_it_was(tmp_path: Path) -> None:
    plain = GreatApes(seed=0, seqlen=64, path=alignment(tmp_path))
    matched = GreatApes(seed=0, seqlen=64, path=alignment(tmp_path), matched=True, near_gaps=1.0)
    assert plain.fingerprint() == matched.fingerprint()
    for which in plain.eval_sets("test"):
        rows = range(min(which.rows, 16))
        np.testing.assert_array_equal(
            plain.eval_batch(which, rows).inputs, matched.eval_batch(which, rows).inputs
        )


def test_great_apes_of_fasta_have_no_matched_places(tmp_path: Path) -> None:
    for name in ("bonobo", "human"):
        (tmp_path / f"{name}.fa").write_text(">1\n" + "ACGT" * 100 + "\n")
    with pytest.raises(UserError, match=r"task\.matched=true needs an alignment: give one in MAF"):
        GreatApes(seed=0, path=tmp_path, matched=True)
    with pytest.raises(UserError, match=r"task\.near_gaps=0\.5 is for task.matched=true"):
        GreatApes(seed=0, path=tmp_path, near_gaps=0.5)
