"""The paper's numbers in a study's own table."""

from collections.abc import Callable

from seqsuite.experiments.tracking.reader import Reader
from seqsuite.report import Section
from seqsuite.results.studies import Study, find_study
from seqsuite.results.studies.outcome import study_tables

Record = Callable[..., str]

BITS = {"task": "text", "metric": "bits_per_byte"}


def rows(section: Section) -> list[list[str]]:
    return [[column.show(row) for column in section.columns] for row in section.rows]


def titles(section: Section) -> list[str]:
    return [column.title for column in section.columns]


def test_a_column_has_the_papers_number_beside_it(reader: Reader, record: Record) -> None:
    for block, mixer, value in (("none", "s4", 85.0), ("none", "hyena", 72.0), ("mamba", "s4", 94.0)):
        options = {"model.block.name": block, "model.mixer.name": mixer, "model.norm": "layer"}
        record("mamba", value, task="selective_copying", metric="accuracy", options=options)
    (table,) = study_tables(find_study("table1")[1], reader)
    assert titles(table) == [
        "model.mixer",
        "block=mamba",
        "block=mamba, paper",
        "block=none",
        "block=none, paper",
    ]
    assert rows(table) == [["hyena", "–", "–", "72.00", "–"], ["s4", "94.00", "56.40", "85.00", "18.30"]]
    assert [note for note in table.notes if note.startswith("Paper: ")] == [
        "Paper: Gu & Dao, arXiv 2312.00752v2, Table 1; L = 4096, vocabulary 16, 16 data tokens, 2 layers, "
        "D = 64, batch 64, constant learning rate 1e-4, 400 K steps."
    ]


def test_another_metric_of_the_papers_is_named(reader: Reader, record: Record) -> None:
    for rank, value in (("null", 1.63), ("1", 1.62), ("2", 1.61)):
        options = {"model.block.name": "mamba", "model.mixer.name": "s6", "model.mixer.dt_rank": rank}
        record("mamba", value, **BITS, options=options)
    (table,) = study_tables(find_study("table9")[1], reader)
    assert titles(table) == ["model.mixer.dt_rank", "bits_per_byte", "paper (perplexity)"]
    assert rows(table) == [["1", "1.620", "8.97"], ["2", "1.610", "–"], ["none", "1.630", "9.12"]]
    assert table.notes[-1].startswith("Paper (perplexity): Gu & Dao")


def test_a_secondary_transcription_says_so(reader: Reader, record: Record) -> None:
    for block in ("h3", "mamba"):
        record("mamba", 1.7, **BITS, options={"model.block.name": block, "model.mixer.name": "s6"})
    (table,) = study_tables(find_study("table6")[1], reader)
    assert rows(table) == [["s6", "1.700", "8.95", "1.700", "8.69"]]
    notes = [note for note in table.notes if note.startswith("Paper (perplexity): ")]
    assert [("secondary transcription" in note) for note in notes] == [False, True]


def test_a_table_without_published_numbers_is_as_it_was(reader: Reader, record: Record) -> None:
    record("mamba", 1.7, **BITS)
    study = Study.model_validate({"title": "t", "source": "s", "pivot": {"rows": "model"}})
    (table,) = study_tables(study, reader)
    assert titles(table) == ["model", "bits_per_byte"]
    by_set = find_study("table2")[1]
    record("mamba", 50.0, task="induction", metric="accuracy", metrics={"test/length_512/accuracy": 40.0})
    assert not any("paper" in title for title in titles(study_tables(by_set, reader)[0]))
