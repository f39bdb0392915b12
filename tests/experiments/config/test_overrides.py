"""The grammar of settings."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import expand_grid


def test_several_values_make_the_product_with_the_last_key_fastest():
    cells = expand_grid(["model=mamba,s4", "seed=0..2"])
    assert [(cell["model"], cell["seed"]) for cell in cells] == [
        (model, seed) for model in ("mamba", "s4") for seed in ("0", "1", "2")
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5", ["5"]),
        ("1e-3,2e-3", ["1e-3", "2e-3"]),
        ("-1..1", ["-1", "0", "1"]),
        ("3..3", ["3"]),
        ("0..1,7", ["0", "1", "7"]),
        ("[1,2],[3]", [["1", "2"], ["3"]]),
        ("[]", [[]]),
        ("''", [""]),
        ("'a,b'", ["a,b"]),
        ('"0..4"', ["0..4"]),
        ("none,x", [None, "x"]),
        ("/data/it's here.fa", ["/data/it's here.fa"]),
        ("a=b", ["a=b"]),
    ],
)
def test_values(text, values):
    assert [cell["train.key"] for cell in expand_grid([f"train.key={text}"])] == values


def test_zipped_values_are_pairs():
    cells = expand_grid(["model=mamba,s4", "seed=0..1", "task=dna"], zipped=True)
    assert [tuple(cell.values()) for cell in cells] == [("mamba", "0", "dna"), ("s4", "1", "dna")]
    assert expand_grid(["task=dna"], zipped=True) == [{"task": "dna"}]
    with pytest.raises(UserError, match="model has 2, seed has 3"):
        expand_grid(["model=mamba,s4", "seed=0..2"], zipped=True)


def test_as_many_cells_values_and_lists_in_lists_as_are_allowed() -> None:
    assert len(expand_grid(["seed=0..99", "other=0..99"])) == 10_000
    assert len(expand_grid(["seed=1..10000"])) == 10_000
    (cell,) = expand_grid([f"key={'[' * 20}{']' * 20}"])
    assert str(cell["key"]) == "[" * 20 + "]" * 20


def test_no_settings_are_one_cell():
    assert expand_grid([]) == [{}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mamba"], "'mamba' is not a setting"),
        (["=3"], "'=3' is not a setting"),
        (["a..b=3"], "is not a setting"),
        (["seed="], "seed= has an empty value"),
        (["seed=1,,2"], "has an empty value"),
        (["seed=1", "seed=2"], "'seed' is given twice"),
        (["seed=4..0"], "seed=4..0 is no range"),
        (["seed=0..99999999"], "is no range"),
        (["key='a"], "quotation mark that is not closed"),
        (["key=[1,2"], "bracket that is not closed"),
        (["seed=['~a,b',]"], "has an empty item"),
        (["seed=[,]"], "has an empty item"),
        (["key='"], "quotation mark that is not closed"),
        (["key=["], "bracket that is not closed"),
        (["seed=0..10000"], "seed=0..10000 is no range: write LOW..HIGH, with at most 10000 values"),
        (["seed=0..9999", "other=0..1"], "grid has 20000 cells, more than 10000"),
        ([f"key={'[' * 21}{']' * 21}"], "key= has lists in lists, more than 20 deep"),
        ([f"key={'9' * 5000}..{'9' * 5001},"], "has an empty value"),
    ],
)
def test_what_cannot_be_read_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        expand_grid(arguments)


@settings(deadline=None)
@given(st.text(min_size=1, alphabet=st.characters(exclude_characters="'\"[],")))
def test_text_without_the_grammars_signs_is_one_value(text):
    values = [cell["key"] for cell in expand_grid([f"key={text}"])]
    if re.fullmatch(r"-?\d+\.\.-?\d+", text):
        assert len(values) >= 1
    else:
        assert values == [None if text.lower() in ("none", "null") else text]
