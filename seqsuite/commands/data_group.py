"""The command line of ``seqsuite data``; heavy imports wait for the command that needs them."""

import sys
from pathlib import Path
from typing import Any, Literal

import click

_FILE = click.Path(dir_okay=False, path_type=Path)
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _amount(text: str) -> int:
    """Return a number of bytes that is written as ``2GB``, ``500MB`` or ``1e9``."""
    number = text.strip().upper().rstrip("BKMGT")
    try:
        found = int(float(number) * _UNITS[text.strip().upper()[len(number) :]])
    except (ValueError, KeyError, OverflowError):
        found = 0
    if found < 1:
        raise click.BadParameter(f"{text!r} is no amount such as 2GB, 500MB or 1e9.")
    return found


@click.group()
def data() -> None:
    """Fetch public data sets, check and prepare data, and see what your own files would become.

    \b
    Examples:
      seqsuite data list
      seqsuite data fetch hg38
      seqsuite data info my-recordings/
      seqsuite data prepare corpus/ --output corpus-tokens --vocab-size 16384
    """


@data.command(name="list")
def data_list() -> None:
    """List the data sets: size, licence, and which are here."""
    from seqsuite.commands.data import list_data

    list_data()


@data.command(name="fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--bytes", "wanted", type=_amount, metavar="AMOUNT", help="Text of a streamed set, such as 500MB or 2GB."
)
def data_fetch(names: tuple[str, ...], wanted: int | None) -> None:
    """Fetch data sets; a download that was cut goes on where it stopped.

    Of a set that is streamed, `--bytes` of text are fetched; more may be fetched later.
    """
    from seqsuite.commands.data import fetch_data

    fetch_data(names, wanted)


@data.command(name="verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def data_verify(names: tuple[str, ...]) -> None:
    """Read every byte of the data sets that are here, and compare checksums."""
    from seqsuite.commands.data import verify_data

    sys.exit(verify_data(names))


@data.command(name="prepare")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder of the tokens.")
@click.option("--tokenizer", type=_FILE, help="A tokenizer.json; by default a token is a byte.")
@click.option("--vocab-size", type=click.IntRange(min=256), help="Train byte-pair encoding of this size.")
@click.option("--field", default="text", help="What holds the text in JSON lines and Parquet.")
@click.option("--encoding", help="Of text files; by default told by their bytes.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes.  [default: all cores]")
def data_prepare(path: Path, output: Path | None, workers: int | None, **options: Any) -> None:
    """Make a memory-mapped token file of text, JSON lines or Parquet, or index a FASTA file.

    What was finished is kept: an interrupted preparation goes on.
    """
    from seqsuite.commands.data import prepare_data
    from seqsuite.tasks.prepare.corpus import CorpusOptions

    prepare_data(path, output, CorpusOptions(**options), workers)


@data.command(name="info")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--task", type=click.Choice(["text", "dna", "piano", "sc09"]), help="Read it as this task would."
)
@click.option("--field", default="text", help="What holds the text in JSON lines and Parquet.")
@click.option("--encoding", help="Of text files; by default told by their bytes.")
def data_info(
    path: Path, task: Literal["text", "dna", "piano", "sc09"] | None, encoding: str | None, field: str
) -> None:
    """Show what a file or folder would become: records, splits, first tokens, duplicates."""
    from seqsuite.commands.data import show_info

    show_info(path, task, encoding, field)
