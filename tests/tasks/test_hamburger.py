import numpy as np
import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.base import Baseline, EvalSet, ModelIO
from seqsuite.tasks.hamburger import ACTIONS, INTENTS, THINGS, Hamburger

OWN = ("i want to", "i need to", "i would like to")


def intent_of(sentence: str) -> str:
    """Read a sentence's class off its text, without the task's code."""
    [wish] = [clause for clause in map(str.strip, sentence.split(" .")) if clause.startswith(OWN)]
    verb, noun = wish.split(" to ")[-1].split()[0], wish.split()[-1]
    if "would like" in wish:
        verb = wish.removeprefix("i would like to ").split()[0]
    [action] = [name for name, verbs in ACTIONS.items() if verb in verbs]
    [thing] = [name for name, nouns in THINGS.items() if noun in nouns]
    return f"{action}_{thing}"


def test_the_blogs_sentence():
    task = Hamburger(seed=0)
    tokens = task.words.encode("I want to order a hamburger .")
    assert intent_of(task.words.decode(tokens)) == "order_food"
    assert [task.words.words[token] for token in tokens[task.deciding(tokens)]] == ["order", "hamburger"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_class_follows_from_the_speakers_words(split):
    task = Hamburger(seed=4)
    for row in range(100):
        tokens, label = task.row(split, row)
        sentence = task.words.decode(tokens)
        assert INTENTS[int(label)] == intent_of(sentence)
        assert len(tokens) <= task.io.seqlen
        np.testing.assert_array_equal(task.words.encode(sentence), tokens)


def test_deciding_words_decide_and_others_do_not():
    task = Hamburger(seed=4)
    rng = np.random.default_rng(0)
    for row in range(30):
        tokens, label = task.row("train", row)
        decides = task.deciding(tokens)
        verb, noun = (task.words.words[token] for token in tokens[decides])
        assert INTENTS[int(label)] == next(
            f"{action}_{thing}"
            for action, verbs in ACTIONS.items()
            for thing, nouns in THINGS.items()
            if verb in verbs and noun in nouns
        )
        clauses = task.words.decode(tokens).split(" .")[:-1]
        mixed = " . ".join(rng.permutation(clauses)) + " ."
        again = task.words.encode(mixed)
        assert [task.words.words[token] for token in again[task.deciding(again)]] == [verb, noun]


def test_classes_are_uniform_and_sentences_of_all_lengths():
    task = Hamburger(seed=1)
    made = [task.row("train", row) for row in range(3000)]
    counts = np.bincount([int(label) for _, label in made])
    assert ((counts - 250) ** 2 / 250).sum() < 11 + 5 * np.sqrt(22)
    lengths = [len(tokens) for tokens, _ in made]
    assert max(lengths) > 80
    assert min(lengths) < 50


def test_without_others_every_wish_is_the_speakers():
    task = Hamburger(seed=1, others=0.0)
    tokens, _ = task.row("train", 0)
    assert sum(word in task.words.decode(tokens).split() for word in ("wanted", "tried", "hopes")) == 0


def test_an_unknown_word_is_named():
    with pytest.raises(UserError, match=r"'hamburgr' is not in the vocabulary.*hamburger"):
        Hamburger(seed=0).words.encode("order a hamburgr")


@pytest.mark.slow
def test_ten_thousand_batches_have_the_right_class():
    task = Hamburger(seed=4)
    for row in range(40_000):
        tokens, label = task.row("train", row)
        assert INTENTS[int(label)] == intent_of(task.words.decode(tokens))


def test_a_sentence_ends_with_a_full_stop_whether_typed_or_not() -> None:
    words = Hamburger(seed=0).words
    assert words.decode(words.encode("I want to order a hamburger")) == "i want to order a hamburger ."
    assert words.encode("what a day .").tolist() == words.encode("what a day").tolist()
    assert len(words.encode("")) == 0


def test_sizes_and_chance() -> None:
    """The longest clause has nine words: i would like to order a cheap sandwich, and its full stop."""
    task = Hamburger(seed=0, eval_examples=7)
    assert task.io == ModelIO(seqlen=9 * 13, vocab_size=77, n_classes=12)
    assert Hamburger(seed=0, clauses=2).io.seqlen == 9 * 5
    (which,) = task.eval_sets("test")
    assert which == EvalSet("test", "all", 7, 117)
    assert task.baselines(which) == (Baseline("chance", 100 / 12),)
    assert task.words.decode(task.prompt()) == "i want to order a hamburger ."


@pytest.mark.parametrize("clauses", [1, 3])
def test_a_sentence_has_as_many_clauses_as_are_asked_for_up_to_twice_as_many(clauses: int) -> None:
    task = Hamburger(seed=1, clauses=clauses)
    made = [task.words.decode(task.row("train", row)[0]).split(" .")[:-1] for row in range(200)]
    assert {len(sentence) for sentence in made} == set(range(clauses + 1, 2 * clauses + 2))
    at = {next(n for n, clause in enumerate(map(str.strip, one)) if clause.startswith(OWN)) for one in made}
    assert at == set(range(2 * clauses + 1))


def test_where_all_others_want_something_no_clause_says_nothing() -> None:
    task = Hamburger(seed=1, others=1.0)
    for row in range(20):
        clauses = task.words.decode(task.row("train", row)[0]).split(" .")[:-1]
        assert all(" to " in clause for clause in clauses)
