"""The inspection page: one self-contained HTML file, from numbers that others computed."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from seqsuite.errors import UserError

SCRIPTS = ("draw.js", "live.js", "describe.js", "strip.js", "wave.js", "modes.js", "scan.js", "page.js")
"""In the order in which they need each other."""


def write_page(data: Mapping[str, Any], output: Path) -> None:
    """Write the page of inputs and what models made of them.

    Args:
        data: What is shown:

            - ``unit``, what a token is; ``row``, tokens a row, 0 where they wrap; ``rate``, samples a
              second of audio, or ``None``;
            - ``inputs``: each with ``text``, what it is called; ``tokens``, a label each; ``wave``, samples
              in [−1, 1], or ``None``; and ``models``, for each what
              :func:`seqsuite.models.description.describe` returns;
            - ``models``: each with ``name``; ``label``, the model with its departures from its preset, or
              ``None``; ``parameters``; ``score``, how good it is in words, or
              ``None``; ``live``, what :func:`seqsuite.models.portable.portable` returns; ``longest``, the
              tokens that it may be given in the page; and ``names`` of its outputs, for a live one;
            - ``reader``: how the page reads a sentence: ``kind`` (``words``, ``letters`` or ``bytes``),
              ``tokens`` in the order of their ids, their ``labels``, and the ``end`` that is added to words
              where it is missing, or ``None``; or ``None``;
            - ``why``: why the page does not run the models itself, where it does not;
            - ``scan``: ``machine``, ``shape`` and ``rows`` of ``way``, ``seqlen`` and ``seconds``, or
              ``None``.
        output: The file.

    Raises:
        UserError: if the file cannot be written.
    """
    folder = files("seqsuite.results") / "page"

    def read(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    content = content.replace("<", "\\u003c")  # no token may end the script element
    scripts = "</script>\n<script>\n".join(read(name) for name in SCRIPTS)
    page = read("page.html")
    for mark, text in (("/*STYLE*/", read("page.css")), ("/*SCRIPT*/", scripts), ("/*DATA*/", content)):
        page = page.replace(mark, text, 1)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from error
