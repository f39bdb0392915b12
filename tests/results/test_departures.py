"""In what a recorded cell is not its preset."""

from seqsuite.results.departures import departures

CELL = {"task.name": "dna", "model.name": "mamba", "scale": "cpu"}


def test_choices_come_first_and_then_settings_by_name() -> None:
    changed = {"train.clip": "3.0", "model.d_model": "12", "model.mixer.name": "s4d"}
    found = departures(CELL | changed)
    assert found is not None
    assert list(found.items()) == [
        ("model.mixer.name", "s4d"),
        ("model.d_model", "12"),
        ("train.clip", "3.0"),
    ]


def test_what_is_as_in_the_preset_is_left_out() -> None:
    assert departures(CELL | {"model.mixer.name": "s6", "run.name": "mine"}) == {}


def test_of_a_plugin_that_is_not_here_nothing_is_said() -> None:
    assert departures(CELL | {"task.name": "gone"}) is None


def test_settings_that_no_preset_mentions_have_the_schemas_defaults() -> None:
    usual = {"train.ema": "null", "train.graphs": "auto", "model.tie_embeddings": "true"}
    assert departures(CELL | usual) == {}
    changed = {"train.ema": "0.9", "train.graphs": "off", "model.tie_embeddings": "false"}
    assert departures(CELL | changed) == changed
