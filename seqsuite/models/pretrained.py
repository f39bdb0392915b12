"""Models from folders and from the Hugging Face hub, and back."""

import os
import tempfile
from pathlib import Path
from typing import Literal, get_args

from safetensors import SafetensorError

from seqsuite.errors import UserError
from seqsuite.models.formats import foreign, native
from seqsuite.models.formats.files import CONFIG, UNFIT, first_line, locate, read_description
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.registry import did_you_mean

Format = Literal["hf", "native"]
FORMATS: tuple[str, ...] = get_args(Format)


def from_pretrained(folder_or_name: str | Path, *, revision: str | None = None) -> LanguageModel:
    """Return a model in evaluation mode: called on token ids (B, L), it gives logits (B, L, V).

    Three formats are known, by what ``config.json`` says: Hugging Face's (``MambaForCausalLM`` and
    ``Mamba2ForCausalLM``), the original one of ``state-spaces/mamba-*`` and ``mamba2-*``, and our own.
    Weights in the first two are read as float32. Where a vocabulary was padded, V is the padded size, as in
    the models themselves.

    Args:
        folder_or_name: A folder, or a name on the Hugging Face hub, which takes the extra ``hf``.
        revision: Branch, tag or commit on the hub.

    Raises:
        UserError: if there is no such model, it is damaged, or it has a layer that we have not.
    """
    folder = locate(folder_or_name, revision)
    description = read_description(folder)
    try:
        if native.MARK not in description:
            return foreign.read(folder, description).eval()
        model = native.read(folder, description)
        if not isinstance(model, LanguageModel):
            raise UserError("it is no model of language: it does not predict the tokens that it reads.")
        return model.eval()
    except UserError as error:
        raise UserError(f"{folder} cannot be loaded: {error}") from error
    except UNFIT as error:
        reason = f"its {CONFIG} describes no model that can be built: {first_line(error)}"
        raise UserError(f"{folder} cannot be loaded: {reason}.") from error


def save_pretrained(model: LanguageModel, folder: str | Path, format: Format = "hf") -> None:
    """Write a model's ``config.json`` and ``model.safetensors`` into ``folder``, over those that are there.

    Args:
        model: A model from :func:`from_pretrained` or :func:`~seqsuite.models.build.build_model`.
        folder: Where to; it is made if it is missing, and other files in it are left alone.
        format: ``"hf"`` is what ``transformers`` loads, ``"native"`` our own, which takes every model.

    Raises:
        UserError: if the format is unknown or has no such model, or the folder cannot be written.
        ValueError: if the model was not built by this package's functions.
    """
    if format not in FORMATS:
        raise UserError(
            f"Unknown format {format!r}: choose from {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}"
        )
    if model.config is None:
        raise ValueError("only a model that build_model or from_pretrained made can be saved")
    write = foreign.write if format == "hf" else native.write
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as partial:
            write(Path(partial), model, model.config)
            mode = (Path(partial) / CONFIG).stat().st_mode  # as the user's umask says; weights are 0600
            for path in Path(partial).iterdir():
                path.chmod(mode)
                os.replace(path, folder / path.name)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The model cannot be written to {folder}: {error}.") from error
