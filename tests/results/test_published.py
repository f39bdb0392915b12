"""Published numbers beside our rows, and those that have no row."""

from collections.abc import Callable

from seqsuite.experiments.tracking.reader import Reader
from seqsuite.results.collect import collect
from seqsuite.results.studies import Study

Record = Callable[..., str]

PRESET = {"model.block.name": "mamba", "model.mixer.name": "s6", "model.norm": "rms"}
TABLE_1 = {"task": "selective_copying", "metric": "accuracy"}


def test_papers_numbers_stand_in_the_rows_of_the_same_settings(reader: Reader, record: Record) -> None:
    s4 = {"model.block.name": "none", "model.mixer.name": "s4", "model.norm": "layer"}
    record("mamba", 99.0, **TABLE_1, options=PRESET | {"task.length": 96})
    record("s4", 84.0, **TABLE_1, options=s4 | {"task.length": 96})
    record("transformer", 70.0, **TABLE_1, options={"model.mixer.name": "attention", "task.length": 96})
    (section,) = collect(reader).sections
    papers = [row.paper["accuracy"].value if row.paper else None for row in section.rows]
    assert papers == [99.8, 18.3, None]
    assert {(row.label, row.paper.value) for row in section.unmatched} >= {("block=h3 mixer=s4", 57.0)}
    assert len(section.unmatched) == 6
    (note,) = (note for note in section.notes if note.startswith("Paper: "))
    assert note.startswith("Paper: Gu & Dao, arXiv 2312.00752v2, Table 1; L = 4096, ")
    assert note.endswith(
        "Here: task.length=96, task.vocab_size=?, task.num_tokens=?, model.n_layer=?, model.d_model=?, "
        "train.batch_size=?, train.learning_rate=?, train.steps=100."
    )
    (without,) = collect(reader, paper=False).sections
    assert not any(row.paper for row in without.rows)
    assert not without.unmatched


def test_other_metrics_of_a_task_are_not_mixed_up(reader: Reader, record: Record) -> None:
    """Bits a byte are not the paper's perplexity, though both are of text."""
    options = PRESET | {"model.mixer.dt_rank": "null"}
    record("mamba", 1.0, task="text", metric="bits_per_byte", options=options)
    (section,) = collect(reader).sections
    assert not section.rows[0].paper
    assert not section.unmatched
    record("mamba", 9.0, task="text", metric="perplexity", options=options, seed=1)
    papers = [row.paper.get("perplexity") for section in collect(reader).sections for row in section.rows]
    assert [paper and paper.value for paper in papers] == [None, 8.69]
    sources = [row.paper.source for section in collect(reader).sections for row in section.unmatched]
    assert any(source.endswith("Table 6 (secondary transcription)") for source in sources)


def test_a_table_of_bits_lists_no_published_perplexities(reader: Reader, record: Record) -> None:
    """A run of text has both, and is ranked by bits."""
    options = PRESET | {"model.mixer.dt_rank": "null"}
    both = {"test/perplexity": 9.0}
    record("mamba", 3.1, task="text", metric="bits_per_byte", options=options, metrics=both)
    (section,) = collect(reader).sections
    assert section.rows[0].paper["perplexity"].value == 8.69
    assert not section.unmatched
    assert not [note for note in section.notes if note.startswith("Paper: ")]


def test_numbers_of_one_data_set_stand_beside_runs_on_it_only(reader: Reader, record: Record) -> None:
    on = {"task": "dna_classification", "metric": "accuracy"}
    record("mamba", 90.0, **on, options={"task.dataset": "human_or_none"})
    promoters = {"task.dataset": "human_nontata_promoters"}
    record("mamba", 95.0, **on, options=promoters, tags={"seqsuite.data": "feed"})
    listed = {
        section.rows[0].settings["task.dataset"]: sorted(entry.paper.value for entry in section.unmatched)
        for section in collect(reader).sections
    }
    assert listed == {"human_or_none": [], "human_nontata_promoters": [84.6, 96.6]}


def test_the_task_of_a_missing_plug_in_has_no_papers_numbers(reader: Reader, record: Record) -> None:
    record("mamba", 1.0, task="not_installed")
    assert not collect(reader).sections[0].unmatched


def test_numbers_without_a_row_are_told_once(reader: Reader, record: Record) -> None:
    """Each with the runs on its length, and those of lengths that we have not with the last."""
    apes = {"task": "great_apes", "metric": "accuracy", "scale": "cpu"}
    for length in (1024, 4096):
        tags = {"seqsuite.evals": f"all: 64 x {length}"}
        record("mamba", 25.0, **apes, options={"task.seqlen": length, "model.size": "null"}, tags=tags)
    first, last = collect(reader).sections
    assert {entry.label.rpartition("task.seqlen=")[2] for entry in first.unmatched} == {"1024"}
    assert {entry.label.rpartition("task.seqlen=")[2] for entry in last.unmatched} == {
        *("4096", "16384", "65536", "262144", "1048576"),
    }
    told = [entry.label for section in (first, last) for entry in section.unmatched]
    assert len(told) == len(set(told)) == 18


def test_a_study_has_its_own_published_numbers(reader: Reader, record: Record) -> None:
    """One that a user has written is not shown beside the paper's."""
    record("mamba", 99.0, **TABLE_1, options=PRESET)
    mine = Study.model_validate(
        {
            "title": "Mine",
            "source": "Mine, Table 9",
            "published": [
                {
                    "task": "selective_copying",
                    "settings": ["model"],
                    "metrics": ["accuracy"],
                    "rows": [["mamba", 77.5], ["gru", 33.0]],
                }
            ],
        }
    )
    (section,) = collect(reader, study=mine).sections
    assert section.rows[0].paper["accuracy"].value == 77.5
    assert [(entry.label, entry.paper.source) for entry in section.unmatched] == [
        ("model=gru", "Mine, Table 9")
    ]
    (without,) = collect(reader, study=mine.model_copy(update={"published": []})).sections
    assert not without.rows[0].paper
    assert not without.unmatched
