"""A model looks the same in every figure."""

from seqsuite.report.pictures import look
from seqsuite.results.looks import looks


def test_a_model_looks_the_same_whatever_it_is_beside() -> None:
    first = dict(zip(["hyena", "mamba"], looks(["hyena", "mamba"]), strict=True))
    labels = ["mamba task.seqlen=256", "my_model", "s4", "hyena + d_model=16"]
    second = looks(labels)
    assert (second[0], second[3]) == (first["mamba"], first["hyena"])
    assert len(set(second)) == len(labels)


def test_of_a_model_s_lines_the_plain_one_has_its_look() -> None:
    labels = ["mamba + mixer.dt_rank=1", "mamba", "mamba + mixer.dt_rank=2"]
    assert looks(labels)[1] == looks(["mamba"])[0] == look(0)
    assert len(set(looks(labels))) == 3


def test_lines_without_a_model_look_as_they_stand() -> None:
    assert looks(["256", "1024"]) == [look(0), look(1)]
