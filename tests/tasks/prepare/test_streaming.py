"""Streamed sets, from files on this machine: resumed, extended, and the same rows whatever happens."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import recipes as known
from seqsuite.tasks.prepare import streaming
from seqsuite.tasks.prepare.fetch import fetch, is_enough, is_present
from seqsuite.tasks.prepare.manifest import damaged_files
from seqsuite.tasks.prepare.recipes import Recipe, find_recipe, parse_recipe
from seqsuite.tasks.text import Text

Seqsuite = Callable[..., Result]

FILES, ROWS = 3, 40


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A set of three Parquet files on this machine, of about 24 KB of text; nothing is asked of a network."""
    pytest.importorskip("datasets")
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setenv("SEQSUITE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(streaming, "PART_BYTES", 4_000)
    served = tmp_path / "served"
    served.mkdir()
    rng = np.random.default_rng(0)
    for number in range(FILES):
        words = [" ".join(rng.choice(["état", "of", "the", "union"], 40)) for _ in range(ROWS)]
        words[7] = "  \n"
        table = pyarrow.table({"id": list(range(ROWS)), "content": words})
        pyarrow.parquet.write_table(table, served / f"{number}.parquet", row_group_size=10)
    content = {
        "summary": "A tiny stream",
        "task": "text",
        "licence": "CC0",
        "homepage": "http://127.0.0.1",
        "path": ".",
        "stream": {
            "dataset": "parquet",
            "field": "content",
            "bytes": 10_000,
            "data_files": [str(served / f"{number}.parquet") for number in range(FILES)],
        },
    }
    recipe = parse_recipe("tiny", content)
    monkeypatch.setitem(known.recipes(), "tiny", recipe)
    return recipe


def served(tmp_path: Path) -> list[str]:
    """All documents with text, in order."""
    import pyarrow.parquet

    files = sorted((tmp_path / "served").iterdir())
    rows = [row for file in files for row in pyarrow.parquet.read_table(file)["content"].to_pylist()]
    return [row for row in rows if row.strip()]


def kept(folder: Path) -> list[str]:
    import pyarrow.parquet

    files = sorted(folder.glob("*.parquet"))
    return [row for file in files for row in pyarrow.parquet.read_table(file)["text"].to_pylist()]


def quiet(*_: object) -> None:
    pass


class CutError(Exception):
    pass


def interrupted(after: int) -> Callable[..., None]:
    """A progress that breaks the connection after so many calls."""
    left: Iterator[int] = iter(range(after))

    def progress(*_: object) -> None:
        if next(left, None) is None:
            raise CutError("Connection reset by peer")

    return progress


def test_so_many_bytes_are_kept_and_more_later(tiny: Recipe, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    assert not is_present(tiny)
    folder = fetch(tiny, lambda *state: seen.append(state))
    first = kept(folder)
    assert first == served(tmp_path)[: len(first)]
    sizes = [len(text.encode()) for text in first]
    assert sum(sizes[:-1]) < 10_000 <= sum(sizes)
    assert seen[-1] == ("tiny", sum(sizes), 10_000)
    assert is_present(tiny)
    assert damaged_files(folder) == []
    fetch(tiny, interrupted(0))  # nothing is asked again
    assert not is_enough(tiny, 12_000)
    fetch(tiny, quiet, wanted=12_000)
    assert kept(folder)[: len(first)] == first
    fetch(tiny, quiet, wanted=10**9)
    assert kept(folder) == served(tmp_path)
    assert is_enough(tiny, 10**12)  # there is no more


def test_a_cut_stream_goes_on_and_makes_the_same_rows(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"Connection reset by peer; 0\.0 MB of text have arrived and are kept"
    ):
        fetch(tiny, interrupted(45))
    folder = tmp_path / "data" / "tiny"
    before = kept(folder)
    assert before
    assert not is_present(tiny)
    fetch(tiny, quiet)
    whole = replace(tiny, name="whole")
    other = fetch(whole, quiet)
    assert kept(folder) == kept(other)
    one, two = (Text(seed=3, seqlen=32, path=place) for place in (folder, other))
    assert one.fingerprint() == two.fingerprint()
    np.testing.assert_array_equal(one.train_batch(range(40)).inputs[7:9], two.train_batch(range(7, 9)).inputs)


def test_a_stream_of_another_version_goes_on_by_counting(tiny: Recipe, tmp_path: Path) -> None:
    folder = fetch(tiny, quiet)
    state = folder / ".stream.json"
    content = json.loads(state.read_text())
    state.write_text(json.dumps(content | {"version": "0.0", "state": {"nothing": 1}}))
    fetch(tiny, quiet, wanted=10**9)
    assert kept(folder) == served(tmp_path)


def test_what_is_no_text_is_one_sentence(tiny: Recipe) -> None:
    assert tiny.stream is not None
    wrong = replace(tiny, stream=replace(tiny.stream, field="text"))
    with pytest.raises(UserError, match="has no text 'text' in each row; it has 'id', 'content'"):
        fetch(wrong, quiet)
    gone = replace(tiny, stream=replace(tiny.stream, data_files=("missing.parquet",)))
    with pytest.raises(UserError, match="cannot be streamed") as error:
        fetch(gone, quiet)
    assert "\n" not in str(error.value)


def test_without_the_extra_it_says_what_to_install(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'seqsuite\[hf\]'"):
        fetch(tiny, quiet)


def test_the_command_asks_for_an_amount(tiny: Recipe, seqsuite: Seqsuite, tmp_path: Path) -> None:
    assert "tiny" in seqsuite("data", "list").output
    for amount in ("none", "-1GB", "3XB", "nan"):
        refused = seqsuite("data", "fetch", "tiny", "--bytes", amount)
        assert refused.exit_code == 2
        assert "is no amount" in refused.output
    whole = seqsuite("data", "fetch", "enwik8", "--bytes", "1GB")
    assert whole.exit_code == 2
    assert "enwik8 is fetched whole" in whole.output
    fetched = seqsuite("data", "fetch", "tiny", "--bytes", "5KB")
    assert fetched.exit_code == 0, fetched.output
    assert "not pinned" in fetched.output
    assert f"task.path={tmp_path / 'data' / 'tiny'}" in fetched.output
    assert 5_000 <= sum(len(text.encode()) for text in kept(tmp_path / "data" / "tiny")) < 5_400
    assert "whole, as it arrived" in seqsuite("data", "verify").output
    made = seqsuite("data", "prepare", str(tmp_path / "data" / "tiny"), "--output", str(tmp_path / "tokens"))
    assert made.exit_code == 0, made.output


def test_the_recipe_of_fineweb_edu_streams() -> None:
    recipe = find_recipe("fineweb_edu")
    assert recipe.stream is not None
    assert recipe.stream.dataset == "HuggingFaceFW/fineweb-edu"
    assert not recipe.is_pinned
    assert recipe.size == recipe.stream.bytes
