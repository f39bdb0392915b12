"""What stopped a cell is one sentence, and a traceback is kept."""

import errno
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.experiments.failures import sentence


def test_what_stopped_a_cell_is_one_sentence(tmp_path: Path) -> None:
    def told(error: Exception, folder: Path | None = None) -> str:
        try:
            raise error
        except Exception as raised:
            return sentence(raised, folder)

    assert told(UserError("Set task.path.")) == "Set task.path."
    full = OSError(errno.ENOSPC, "full", "/data/x")
    assert told(full) == ("/data/x cannot be used (No space left on device): mend that, and run it again.")
    assert told(MemoryError()) == (
        "It needs more memory than there is: choose a smaller train.batch_size, train.eval_batch_size, "
        "model or sequence, or a larger train.accumulate."
    )
    line = told.__code__.co_firstlineno + 2
    place = f"in {__file__}, line {line}: "
    assert told(ValueError("a  b\nc.")) == f"ValueError {place}a b c."
    assert told(ValueError()) == f"ValueError {place}raise error."
    assert told(OSError("odd")) == f"OSError {place}odd."
    assert told(OSError(errno.EIO, "without a file")) == f"OSError {place}[Errno 5] without a file."
    kept = tmp_path / "traceback.txt"
    assert told(KeyError("k"), tmp_path) == f"KeyError {place}'k' (the traceback is in {kept})."
    assert kept.read_text().startswith("Traceback (most recent call last):\n")
    gone = tmp_path / "none"
    assert told(KeyError("k"), gone).endswith(f"(the traceback is in {gone / 'traceback.txt'}).")
