import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.results.filters import check_keys, parse_filters

PARAMS = {
    "task.name": "dna",
    "task.seqlen": "256",
    "model.mixer.name": "s4d",
    "train.learning_rate": "0.001",
    "train.clip": "null",
    "train.compile": "true",
}
CELL = CellRun("id", "name", "FINISHED", PARAMS, {}, {}, 0.0)


@pytest.mark.parametrize(
    ("argument", "kept"),
    [
        ("task=dna", True),
        ("task=text", False),
        ("task=text,dna", True),
        ("task!=text,piano", True),
        ("task!=text,dna", False),
        ("model.mixer=s4d", True),
        ("model.mixer.name=s4d", True),
        ("task.seqlen=128..300", True),
        ("task.seqlen>=256", True),
        ("task.seqlen>256", False),
        ("task.seqlen<=256", True),
        ("task.seqlen<256", False),
        ("task.seqlen<1e3", True),
        ("train.learning_rate=1e-3", True),
        ("train.clip=none", True),
        ("train.compile=True", True),
        ("train.compile!=TRUE", False),
        ("train.compile=false", False),
        ("train.clip>1", False),
        ("train.warmup=0", False),
        ("train.warmup!=0", False),
    ],
)
def test_conditions(argument: str, kept: bool) -> None:
    (condition,) = parse_filters([argument])
    assert condition.keeps(CELL) is kept


@pytest.mark.parametrize("argument", ["dna", "=dna", "task.seqlen>=a", "task.seqlen>1,2", "task=", ">3"])
def test_what_is_no_condition_is_one_sentence(argument: str) -> None:
    with pytest.raises(UserError):
        parse_filters([argument])


def test_a_setting_that_no_run_has_is_named_with_the_nearest() -> None:
    check_keys(parse_filters(["task.seqlen=3", "model.mixer=s6"]), [CELL])
    with pytest.raises(UserError, match=r"task\.seqlne.*Did you mean 'task\.seqlen'"):
        check_keys(parse_filters(["task.seqlne=3"]), [CELL])
