"""The pages that docs/reference.py makes of each model, task and study say what a reader comes for."""

import re

import pytest
from reference_pages import index, model_page, study_page, task_page
from reference_text import in_markdown

from seqsuite.experiments.config.keys import Key, list_keys
from seqsuite.models import MODELS
from seqsuite.results.studies import load_studies

ROLE = re.compile(r":[a-z]+:`")
MADE = ("selective_copying", "copying", "hamburger", "mqar", "state_tracking")


@pytest.fixture(scope="module")
def keys() -> list[Key]:
    return list_keys()


@pytest.mark.parametrize("name", MODELS.names())
def test_a_model_has_what_it_computes_its_state_sizes_options_and_studies(name: str, keys: list[Key]) -> None:
    page = model_page(name, keys)
    for part in (
        "**Mixer `",
        "**Block `",
        "**Backbone `",
        "## State",
        "## Sizes",
        "## Options",
        "## Studies",
    ):
        assert part in page
    assert not ROLE.search(page)


def test_a_models_numbers_are_those_of_the_code_and_of_the_exports(keys: list[Key]) -> None:
    page = model_page("mamba", keys)
    assert "| `mamba` | `125m`, `130m` | 24 | 768 | 129,135,360 |" in page
    assert "19,456 bytes after 1,024 positions and 19,456 bytes after 1,048,576" in page
    assert "It has one size at any length." in page
    assert "| `model.mixer.d_state` | whole number > 0 | 16 |" in page
    assert "[table1: Selective copying](../studies/table1.md)" in page
    assert "| [table1](../../results/table1.md) | `selective_copying` | cpu |  | accuracy (%) |" in page
    assert "It grows with the length." in model_page("transformer", keys)
    assert "the mixer `s4` in other models" in model_page("s4", keys)


@pytest.mark.parametrize("name", MADE)
def test_a_task_has_an_example_baselines_and_its_scales(name: str, keys: list[Key]) -> None:
    page = task_page(name, keys)
    for part in ("## What is predicted", "input: ", "| key | smoke | cpu | gpu | paper |", "## Options"):
        assert part in page
    assert "| chance |" in page
    assert not ROLE.search(page)


def test_a_tasks_example_is_its_first_training_sequence(keys: list[Key]) -> None:
    assert "the line is bad . i want to order a taxi .\nclass:  order_food" not in task_page(
        "hamburger", keys
    )
    assert "the line is bad . i want to order a taxi .\nclass:  order_ride" in task_page("hamburger", keys)
    assert "input:   2 13  7 12  0  0  7" in task_page("mqar", keys)
    assert "target:  .  .  .  .  .  . 12" in task_page("mqar", keys)


def test_a_study_shows_its_picture_and_leads_to_its_results() -> None:
    page = study_page("fig5", load_studies()[0]["fig5"])
    assert "(../../results/fig5.md)" in page
    assert "![What was measured; the results page has the numbers](../../results/fig5-cpu.svg)" in page


def test_roles_of_docstrings_become_names() -> None:
    text = "one of :data:`INTENTS`, as :meth:`~a.b.Task.row` and :class:`a.C` say, ``x``"
    assert in_markdown(text) == "one of `INTENTS`, as `row` and `C` say, `x`"


def test_an_index_lists_each_with_what_it_is() -> None:
    page = index("Each task", "tasks", [("dna", "Bases, ``ACGT``.")])
    assert "| [dna](tasks/dna.md) | Bases, `ACGT`. |" in page
    assert "tasks/dna\n```" in page
