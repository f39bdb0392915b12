"""``seqsuite data``: public data sets, and what a user's own files would become."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.corpus import CorpusOptions, prepare_corpus
from seqsuite.tasks.prepare.fetch import data_folder, fetch, is_enough, is_present
from seqsuite.tasks.prepare.genome import open_genome
from seqsuite.tasks.prepare.inspection import Kind, decode, guess_kind, inspect_path, picture
from seqsuite.tasks.prepare.manifest import damaged_files
from seqsuite.tasks.prepare.parts import SUFFIXES as CORPUS_SUFFIXES
from seqsuite.tasks.prepare.recipes import Recipe, data_root, find_recipe, recipes
from seqsuite.tasks.sources.files import find
from seqsuite.wording import counted

EXIT_DAMAGED = 1

_WIDE = 100  # columns of a screen that take the table of sets
_NAMED = 10  # records, duplicates and bad files to show


def list_data() -> None:
    """Print every data set: its size, licence and whether it is there."""
    console = Console(highlight=False)
    console.print(*([_listed()] if console.width >= _WIDE else map(_named, recipes().values())), sep="\n")
    console.print(
        "\nPinned: what must arrive is known by its SHA-256. Of the others what arrives is taken as it is, "
        "and `seqsuite data verify` compares with what arrived.",
        soft_wrap=True,
    )
    console.print(f"\nKept in {data_root()} (SEQSUITE_DATA chooses another place).", soft_wrap=True)


def _listed() -> Table:
    """Return all data sets as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("name", "here", "to fetch", "pinned", "task", "licence"):
        table.add_column(
            column, justify="right" if column == "to fetch" else "left", no_wrap=column == "name"
        )
    table.add_column("what it is")
    for recipe in recipes().values():
        here = "yes" if is_present(recipe) else "no"
        pinned = "yes" if recipe.is_pinned else "no"
        table.add_row(
            recipe.name, here, _size(recipe.size), pinned, recipe.task, recipe.licence, recipe.summary
        )
    return table


def _named(recipe: Recipe) -> str:
    """Return a data set as two lines, for narrow screens."""
    here = "here" if is_present(recipe) else "not here"
    pinned = "pinned" if recipe.is_pinned else "not pinned"
    facts = f"{here}, {_size(recipe.size)} to fetch, {pinned}; task {recipe.task}; {recipe.licence}"
    return f"{recipe.name}: {recipe.summary}\n  {facts}"


def fetch_data(names: Sequence[str], wanted: int | None = None) -> None:
    """Fetch data sets by name, and say how to use them.

    Args:
        names: Which.
        wanted: Bytes of text of sets that are streamed; by default the recipe's.

    Raises:
        UserError: if there is no such set, or it cannot be fetched.
    """
    console = Console(highlight=False)
    chosen = [find_recipe(name) for name in names]
    whole = [recipe.name for recipe in chosen if recipe.stream is None]
    if wanted is not None and whole:
        raise UserError(f"--bytes is for sets that are streamed; {whole[0]} is fetched whole.")
    for recipe in chosen:
        if not is_enough(recipe, wanted):
            console.print(f"{recipe.name}: {recipe.summary}; licence: {recipe.licence}", soft_wrap=True)
            with _bar(console) as bar:
                fetch(recipe, _FileBars(bar), wanted=wanted)
            if not recipe.is_pinned:
                console.print(
                    f"{recipe.name} is not pinned: no checksum says whether it is what others have."
                )
        console.print(_usage(recipe), soft_wrap=True)


def verify_data(names: Sequence[str]) -> int:
    """Check every byte of data sets, by default of all that are there; return the exit status.

    Raises:
        UserError: if there is no such set, or it was not fetched.
    """
    console = Console(highlight=False)
    chosen = [find_recipe(name) for name in names]
    if not names:
        chosen = [recipe for recipe in recipes().values() if data_folder(recipe).is_dir()]
    if not chosen:
        console.print("No data set is here: `seqsuite data fetch NAME` gets one.")
    status = 0
    for recipe in chosen:
        damaged = damaged_files(data_folder(recipe))
        if damaged:
            status = EXIT_DAMAGED
            shown = ", ".join(damaged[:_NAMED])
            console.print(
                f"{recipe.name}: damaged: {shown}; remove {data_folder(recipe)} and fetch it again.",
                soft_wrap=True,
            )
        elif recipe.is_pinned:
            console.print(f"{recipe.name}: whole, every checksum is right")
        else:
            console.print(
                f"{recipe.name}: whole, as it arrived; not pinned: its publisher's checksum is not known"
            )
    return status


def prepare_data(path: Path, output: Path | None, options: CorpusOptions, workers: int | None) -> None:
    """Make a token file of a corpus, or index a genome.

    Raises:
        UserError: if the files cannot be read, or the folder cannot be written.
    """
    console = Console(highlight=False)
    with _notices(console):
        if path.is_file() and not path.name.lower().endswith(CORPUS_SUFFIXES) and guess_kind(path) == "dna":
            if output is not None:
                raise UserError("An index of a genome lies in the cache folder: leave --output out.")
            genome = open_genome(path)
            records = counted(len(genome.lengths), "record")
            bases = counted(sum(genome.lengths.values()), "base")
            console.print(f"{records}, {bases} in {genome.records.folder}", soft_wrap=True)
            return
        if output is None:
            raise UserError("Where to? Give --output FOLDER.")
        found = find(path, CORPUS_SUFFIXES, "text, JSON lines or Parquet")
        with _bar(console) as bar:
            task = bar.add_task(found.summary())
            tokens = prepare_corpus(
                found.files,
                output,
                options,
                workers=workers or _cores(),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    console.print(
        f"{found.summary()}; {counted(len(tokens), 'document')}, {len(tokens.tokens):,} tokens of "
        f"{tokens.facts['vocab_size']:,} in {output}",
        soft_wrap=True,
    )


def show_info(path: Path, kind: Kind | None, encoding: str | None, field: str) -> None:
    """Print what a file or folder would become: records, lengths, splits, first tokens, duplicates.

    Raises:
        UserError: if there is nothing to read.
    """
    console = Console(highlight=False)
    with _notices(console):
        inspection = inspect_path(path, kind, encoding, field)
    lengths = np.array([record.length for record in inspection.records])
    first = inspection.records[0]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(min_width=12)
    table.add_row("task", inspection.kind)
    table.add_row("files", inspection.found.summary())
    table.add_row("records", f"{len(lengths):,}")
    table.add_row(
        "tokens",
        f"{lengths.sum():,}; a record has {lengths.min():,} to {lengths.max():,}, "
        f"median {int(np.median(lengths)):,}",
    )
    for split, (streams, tokens) in inspection.split_sizes().items():
        table.add_row(split, f"{tokens:,} tokens in {streams:,} stream{'s' * (streams != 1)}")
    table.add_row("split", inspection.split_rule())
    table.add_row("begins", repr(decode(inspection.kind, first.head)))
    table.add_row("picture", picture(inspection))
    for names in inspection.duplicates()[:_NAMED]:
        table.add_row("the same", " = ".join(names[:_NAMED]))
    for passage in inspection.passages[:_NAMED]:
        table.add_row("in two splits", str(passage))
    for sentence in inspection.bad[:_NAMED]:
        table.add_row("bad file", sentence)
    console.print(table)


class _FileBars:
    """Shows how far each file has been fetched."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name)
        self._bar.update(self._tasks[name], completed=done, total=total)


def _usage(recipe: Recipe) -> str:
    place = (data_folder(recipe) / recipe.path).resolve()
    return f"{recipe.name} is in {data_folder(recipe)}: seqsuite run task={recipe.task} task.path={place}"


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.0f} MB"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


@contextmanager
def _notices(console: Console) -> Iterator[None]:
    """Show what the readers log."""
    logger = logging.getLogger("seqsuite")
    before, level = logger.handlers, logger.level
    logger.handlers = [RichHandler(console=console, show_time=False, show_level=False, show_path=False)]
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers = before
        logger.setLevel(level)
