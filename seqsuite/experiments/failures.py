"""What stopped a cell, in one sentence."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.memory import is_out_of_memory
from seqsuite.experiments.training.divergence import DivergenceError
from seqsuite.registry import place_of


def sentence(error: BaseException, folder: Path | None = None) -> str:
    """Return what happened in one sentence; the traceback of what is nobody's input goes into a file.

    Args:
        error: What was raised.
        folder: Where ``traceback.txt`` goes.
    """
    if isinstance(error, UserError | DivergenceError):
        return str(error)
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        return f"{error.filename} cannot be used ({os.strerror(error.errno)}): mend that, and run it again."
    if is_out_of_memory(error):
        return (
            "It needs more memory than there is: choose a smaller train.batch_size, train.eval_batch_size, "
            "model or sequence, or a larger train.accumulate."
        )
    where = place_of(error)
    line, at = (where.line, f" in {where.filename}, line {where.lineno}") if where else ("", "")
    place = f"{type(error).__name__}{at}: {text or line}"
    if folder is None:
        return f"{place}."
    with best_effort():
        (folder / "traceback.txt").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8", errors="replace"
        )
    return f"{place} (the traceback is in {folder / 'traceback.txt'})."


@contextmanager
def best_effort() -> Iterator[None]:
    """Let a failure to write pass where another failure is being told."""
    try:
        yield
    except (OSError, UserError, RuntimeError):
        return
