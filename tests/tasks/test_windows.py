from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqsuite.errors import UserError
from seqsuite.tasks.base import IGNORE
from seqsuite.tasks.windows import Stream, Streams, WindowTask, split_by_position, split_streams


class Toy(WindowTask):
    """Streams given by a test; no two tokens are equal, so a token tells where it stood."""

    name = "text"
    vocab_size = 256
    unit = "letter"
    units = "letters"

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        seed: int = 0,
        seqlen: int = 4,
        eval_examples: int = 10_000,
        **options: Any,
    ) -> None:
        super().__init__(seed=seed, seqlen=seqlen, path=None, eval_examples=eval_examples, **options)
        ends = np.cumsum(lengths)
        self.parts = [np.arange(end - n, end).astype(np.uint8) for end, n in zip(ends, lengths, strict=True)]

    def load_streams(self) -> Streams:
        return {"train": self.parts, "validation": self.parts, "test": self.parts}


lengths = st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(lambda ns: max(ns) > 4)


@given(lengths, st.integers(1, 5))
def test_evaluation_scores_every_token_but_the_first_of_a_stream_once(ns, batch_size):
    task = Toy(ns)
    (which,) = task.eval_sets("validation")
    starts = range(0, which.rows, batch_size)
    batches = [task.eval_batch(which, range(start, min(start + batch_size, which.rows))) for start in starts]
    scored = np.concatenate([batch.targets[batch.targets != IGNORE] for batch in batches])
    expected = np.concatenate([part[1:] for part in task.parts])
    np.testing.assert_array_equal(np.sort(scored), np.sort(expected))


@given(lengths, st.integers(0, 3))
def test_targets_are_the_inputs_shifted_and_never_cross_streams(ns, start):
    task = Toy(ns)
    for batch in (
        task.train_batch(range(start, start + 3)),
        task.eval_batch(task.eval_sets("test")[0], range(1)),
    ):
        counted = batch.targets != IGNORE
        np.testing.assert_array_equal(batch.targets[counted], batch.inputs[counted] + 1)
        starts = {int(part[0]) for part in task.parts if len(part)}
        assert not starts & set(batch.targets[counted].tolist())


def test_training_windows_reach_every_place_of_every_stream(rows):
    task = Toy([40, 3, 10])
    targets = rows(task, "train", 0, 4000).targets
    counts = np.bincount(targets[targets != IGNORE], minlength=53)
    never = np.flatnonzero(counts == 0).tolist()
    assert never == [0, 40, 43]  # the streams' first tokens
    assert (targets[(targets == 41).any(axis=1)][:, 2:] == IGNORE).all()


def test_cap_takes_evenly_spaced_windows(rows):
    full, capped = Toy([200]), Toy([200], eval_examples=5)
    starts = rows(capped, "test", 0, 5).inputs[:, 0]
    assert [which.rows for which in capped.eval_sets("test")] == [5]
    assert len(starts) == 5
    assert starts[0] == 0
    assert starts[-1] == rows(full, "test", 0, 50).inputs[-1, 0]
    assert np.ptp(np.diff(starts)) <= 4


def test_batches_are_pure_and_training_depends_on_the_seed(rows):
    np.testing.assert_array_equal(
        rows(Toy([200]), "train", 5 * 8, 8).inputs, rows(Toy([200]), "train", 5 * 8, 8).inputs
    )
    assert (
        rows(Toy([200]), "train", 5 * 8, 8).inputs != rows(Toy([200], seed=1), "train", 5 * 8, 8).inputs
    ).any()
    assert (rows(Toy([200]), "train", 5 * 8, 8).inputs != rows(Toy([200]), "train", 6 * 8, 8).inputs).any()
    np.testing.assert_array_equal(
        rows(Toy([200]), "test", 1 * 8, 8).inputs, rows(Toy([200], seed=1), "test", 1 * 8, 8).inputs
    )


class Few(Toy):
    """Of so few kinds of tokens that contexts are counted quickly."""

    vocab_size = 65


def test_unigram_baseline_is_the_entropy_of_equally_frequent_tokens():
    task = Few([65])
    first, *_ = task.baselines(task.eval_sets("validation")[0])
    assert first.name == "unigram"
    assert first.value == pytest.approx(np.log2(65))


def test_too_short_for_seqlen_and_for_a_split():
    with pytest.raises(UserError, match=r"seqlen=9 .* has 9 letters; choose at most 8"):
        Toy([5, 9], seqlen=9).train_batch(range(1))
    with pytest.raises(UserError, match=r"The sample is too short: nothing is left for its train split"):
        Toy([1, 1]).train_batch(range(1))


def stream(length: int) -> Stream:
    return np.zeros(length, dtype=np.uint8)


def test_position_split_is_80_10_10_and_loses_nothing():
    whole = np.arange(100, dtype=np.uint8)
    parts = split_by_position(whole)
    assert [len(part) for part in parts.values()] == [80, 10, 10]
    np.testing.assert_array_equal(np.concatenate(list(parts.values())), whole)


def test_ten_files_are_held_out_whole_and_fewer_are_cut():
    ten = split_streams({f"{i:02}": stream(i + 1) for i in range(10)})
    assert [len(s) for s in ten["validation"]] == [9]
    assert [len(s) for s in ten["test"]] == [10]
    assert len(ten["train"]) == 8
    nine = split_streams({f"{i:02}": stream(100) for i in range(9)})
    assert {split: {len(s) for s in parts} for split, parts in nine.items()} == {
        "train": {80},
        "validation": {10},
        "test": {10},
    }


class Unknown(Toy):
    """Only every ninth token can be a target."""

    unscored_token = 0

    def load_streams(self) -> Streams:
        streams = super().load_streams()
        return {
            split: [np.where(part % 9 == 8, part, 0).astype(np.uint8) for part in parts]
            for split, parts in streams.items()
        }


def test_a_window_without_targets_is_never_handed_out(rows):
    task = Unknown([200])
    for split, count in (("train", 300), ("test", task.eval_sets("test")[0].rows)):
        targets = rows(task, split, 0, count).targets
        assert (targets != IGNORE).any(axis=1).all()
    whole = rows(task, "train", 0, 300).inputs
    np.testing.assert_array_equal(rows(task, "train", 100, 7).inputs, whole[100:107])


def test_lanes_are_read_in_order_and_side_by_side(rows):
    task = Toy([50, 3, 31], seqlen=5, carry_state=True, lanes=4)
    assert task.io.lanes == 4
    part = 84 // 4
    seen = [rows(task, "train", 4 * step, 4) for step in range(5)]
    assert [batch.continues for batch in seen] == [False, True, True, True, False]
    for lane in range(4):
        read = np.concatenate([batch.inputs[lane] for batch in seen[:4]])
        np.testing.assert_array_equal(read, np.arange(lane * part, lane * part + 20))
        np.testing.assert_array_equal(seen[2].targets[lane], seen[2].inputs[lane] + 1)
    np.testing.assert_array_equal(seen[4].inputs, seen[0].inputs)
    np.testing.assert_array_equal(rows(task, "train", 6, 2).inputs, seen[1].inputs[2:])
    (which,) = task.eval_sets("validation")
    assert (which.rows, which.lanes) == (16, 4)
    with pytest.raises(UserError, match=r"lanes=40 parts of the data have 2 tokens"):
        Toy([50, 31], seqlen=5, carry_state=True, lanes=40).train_batch(range(40))


def test_the_fingerprint_is_the_contents(tmp_path):
    def fingerprint(*lengths: int, path: Any = tmp_path) -> str:
        task = Toy(lengths)
        task.path = path
        return task.fingerprint()

    assert fingerprint(40, 30) == fingerprint(40, 30)
    assert len({fingerprint(40, 30), fingerprint(40, 31), fingerprint(70), fingerprint(70, path=None)}) == 4


def test_what_was_read_is_said():
    assert Toy([50, 30]).describe() == (
        "the sample: 6 stretches; train 80 letters, validation 80 letters, test 80 letters"
    )
    assert Unknown([90]).describe().endswith("; 89 % unknown")


@pytest.mark.parametrize("other", [{"packed": True}, {"length_warmup": 8}])
def test_what_goes_in_order_goes_neither_packed_nor_longer_and_longer(other: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        Toy([50], carry_state=True, **other)
    assert str(error.value) == (
        "task.carry_state reads streams in order: it goes neither with task.packed nor with "
        "task.length_warmup."
    )


def test_the_longest_length_of_a_window_has_one_place(rows) -> None:
    task = Toy([5, 9], seqlen=8)
    assert set(rows(task, "train", 0, 40).inputs[:, 0].tolist()) == {0, 5}
    longest = rows(task, "train", 0, 40)
    assert longest.inputs[longest.inputs[:, 0] == 5].tolist() == [list(range(5, 13))] * int(
        (longest.inputs[:, 0] == 5).sum()
    )


def test_in_lanes_or_packed_a_window_goes_over_short_streams(rows) -> None:
    lanes = rows(Toy([5, 5, 5, 5], seqlen=8, carry_state=True, lanes=2), "train", 0, 2)
    assert lanes.inputs.tolist() == [list(range(8)), list(range(10, 18))]
    packed = rows(Toy([5, 5, 5, 5], seqlen=8, packed=True), "validation", 0, 1)
    assert packed.inputs.tolist() == [list(range(8))]
    assert packed.cu_seqlens.tolist() == [0, 5, 8]


@pytest.mark.parametrize(("asked", "scored"), [(4, 4), (5, 8), (8, 8), (9, 12), (99, 16)])
def test_a_cap_of_lanes_is_a_whole_number_of_steps(asked: int, scored: int) -> None:
    (which,) = Toy([84], seqlen=5, carry_state=True, lanes=4, eval_examples=asked).eval_sets("validation")
    assert (which.rows, which.lanes, which.seqlen) == (scored, 4, 5)


def test_a_cap_of_packed_rows() -> None:
    sets = [Toy([50, 30], packed=True, eval_examples=asked).eval_sets("test")[0] for asked in (7, 20, 99)]
    assert [which.rows for which in sets] == [7, 20, 20]


def test_a_stream_of_one_token_has_no_target() -> None:
    assert Toy([1, 2, 9]).describe() == (
        "the sample: 6 stretches; train 11 letters, validation 11 letters, test 11 letters"
    )


def test_a_stream_whose_first_token_alone_is_known_has_no_target() -> None:
    class First(Toy):
        unscored_token = 0

        def load_streams(self) -> Streams:
            parts = [np.array(part, np.uint8) for part in ([7, 0, 0], [0, 7, 0], [0, 0, 7], [0, 0, 0])]
            return {"train": parts, "validation": parts[1:], "test": parts[:2]}

    assert First([3], seqlen=2).describe() == (
        "the sample: 5 stretches; train 6 letters, validation 6 letters, test 3 letters; 67 % unknown"
    )


def test_a_prompt_is_the_first_window_that_has_a_target() -> None:
    assert Unknown([200], seqlen=5).prompt().tolist() == [0, 0, 0, 8, 0]
    assert Toy([200], seqlen=5).prompt().tolist() == [0, 1, 2, 3, 4]
    assert len(Toy([200], seqlen=100).prompt()) == 64


def test_baselines_are_a_unit_and_not_a_token() -> None:
    class Pairs(Few):
        """The j-th token is j units."""

        token_units = np.arange(65.0)

    plain, units = (made([20], seqlen=19) for made in (Few, Pairs))
    which = plain.eval_sets("test")[0]
    for one, other in zip(plain.baselines(which), units.baselines(which), strict=True):
        assert other.name == one.name
        assert other.value == pytest.approx(one.value * 19 / sum(range(1, 20)))


def test_fingerprints_are_those_of_all_versions(tmp_path) -> None:
    task = Toy([40, 30])
    task.path = tmp_path
    assert task.fingerprint() == "4249dbc77af72998"


def test_windows_are_twice_as_long_after_every_so_many_rows(rows) -> None:
    task = Toy([200], seqlen=20, length_warmup=3, warmup_from=4)
    counted = (rows(task, "train", 0, 14).targets != IGNORE).sum(axis=1).tolist()
    assert counted == [4] * 3 + [8] * 3 + [16] * 3 + [20] * 5
    assert [rows(task, "train", start, 3).inputs.shape for start in (1, 3, 2**40)] == [
        (3, 8),
        (3, 8),
        (3, 20),
    ]


def test_an_unknown_token_is_never_a_target(rows) -> None:
    task = Unknown([30], seqlen=29)
    assert sorted(set(rows(task, "test", 0, 1).targets[0].tolist())) == [IGNORE, 8, 17, 26]
