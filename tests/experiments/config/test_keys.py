"""The listing of keys."""

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.keys import argument_descriptions, list_keys
from seqsuite.experiments.config.resolve import override_keys
from seqsuite.tasks import TASKS


def test_every_key_is_listed_with_its_meaning() -> None:
    keys = list_keys()
    assert {key.name for key in keys} >= set(override_keys(None, None)) | {
        "model.mixer.d_state",
        "model.block.expand",
    }
    assert [key.name for key in keys if not key.description] == []


def test_a_key_has_type_default_and_choices() -> None:
    (steps,) = list_keys("train.steps")
    assert (steps.type, steps.default, steps.description) == ("whole number > 0", "1000", "Optimizer steps.")
    (schedule,) = list_keys("train.schedule")
    assert {"cosine", "constant"} <= set(schedule.choices)
    assert [key.choices for key in list_keys("task") if key.name == "task"] == [tuple(TASKS.names())]
    lengths = {key.of: key for key in list_keys("task.seqlen")}
    assert {"text", "dna", "piano", "great_apes"} <= set(lengths)
    assert lengths["dna"].description == "Length of a window in bases."


def test_an_unknown_prefix_is_refused() -> None:
    with pytest.raises(UserError, match=r"No key begins with 'trian'.* Did you mean"):
        list_keys("trian")


def test_a_choice_has_its_own_options_listed() -> None:
    keys = list_keys("task=dna")
    assert {key.of for key in keys} == {"dna"}
    assert [key.name for key in keys] == sorted(
        override_keys("dna", None).keys() & {key.name for key in keys}
    )
    assert all(key.description for key in keys)
    assert {key.of for key in list_keys("model.mixer=s4")} == {"s4"}
    for prefix, said in {
        "task=dnb": "Unknown task 'dnb'.*Did you mean 'dna'",
        "task.dna": "No key begins with 'task.dna'. Did you mean 'task=dna'",
        "model=mamba": "has no options of its own to list: choose from task=NAME",
        "model.block=none": "The block 'none' has no options",
    }.items():
        with pytest.raises(UserError, match=said):
            list_keys(prefix)


def test_descriptions_of_arguments_are_read_over_several_lines() -> None:
    text = "A thing.\n\nArgs:\n    one: First,\n        and more.\n    two: Second.\n\nRaises:\n    X: if so."
    assert argument_descriptions(text) == {"one": "First, and more.", "two": "Second."}
    assert argument_descriptions("Nothing.") == {}


def test_types_are_told_in_words() -> None:
    expected = {
        "train.clip": ("number > 0 or none", "1.0"),
        "train.graphs": ("auto | on | off", "auto"),
        "train.warmup": ("number ≥ 0, ≤ 1", "0.1"),
        "run.gpus": ("number > 0, ≤ 1 or none", "none"),
        "model.backbone.pattern": ("list of texts", "[]"),
        "model.d_model": ("whole number > 0", "64"),
    }
    for name, told in expected.items():
        [key] = [key for key in list_keys(name) if key.name == name]
        assert (key.type, key.default) == told
