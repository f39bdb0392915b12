"""``seqsuite convert``: a model from one format to another."""

import shutil
from pathlib import Path

from rich.console import Console

from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import reads_bytes
from seqsuite.experiments.sources import open_source
from seqsuite.models.formats import native, tokenizer
from seqsuite.models.formats.files import CONFIG, WEIGHTS, check_inside, read_description
from seqsuite.models.pretrained import Format, from_pretrained, save_pretrained


def convert(source: str, destination: Path, *, format: Format, experiment: str) -> None:
    """Write the model that ``source`` stands for, with its tokenizer, to the folder ``destination``.

    Raises:
        UserError: if there is no such model, the format has no such model, the folder is not empty, or
            something in the model's folder is a link out of it.
    """
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise UserError(f"{destination} is there already: name a folder that is new or empty.")
    with open_source(source, experiment) as found:
        folder = found.folder
        description = read_description(folder)
        for path in folder.iterdir():
            check_inside(folder, path)
        model = from_pretrained(folder)
        save_pretrained(model, destination, format)
        if format == "native" and native.MARK in description:  # which may say more than the model needs
            shutil.copyfile(folder / CONFIG, destination / CONFIG)
        tokenizer.copy_files(folder, destination)
        has_tokenizer = (destination / tokenizer.FILES[0]).is_file()
        if format == "hf" and not has_tokenizer and reads_bytes(description):
            tokenizer.write_byte_tokenizer(destination)
    console = Console(highlight=False, soft_wrap=True)
    size = (destination / WEIGHTS).stat().st_size
    console.print(
        f"{destination}: {model.num_parameters():,} parameters, vocabulary {model.vocab_size:,}, "
        f"{size / 1e6:,.1f} MB, format {format}"
    )
    loader = "transformers.AutoModelForCausalLM" if format == "hf" else "seqsuite.models"
    console.print(f"Load it with {loader}.from_pretrained({str(destination)!r})", markup=False)
