"""The inspection page: one self-contained HTML file, from numbers that others computed."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from seqsuite.errors import UserError


def write_page(data: Mapping[str, Any], output: Path) -> None:
    """Write the page of an input and what models made of it.

    Args:
        data: ``tokens``, a label each; ``unit``; ``row``, tokens a row, 0 where they wrap; and ``models``,
            each with ``name``, ``parameters``, ``state_bytes`` (L), ``answers`` (L lists of pairs of a label
            and a probability), and ``layers``: each with ``delta`` (``mean`` (L) or one number, ``top``, for
            each position pairs of a channel and its Δ), ``memory`` (``kind``, ``groups``, ``values``
            (G, L, L)) and ``state`` (L, D), any of which may be ``None``.
        output: The file.

    Raises:
        UserError: if the file cannot be written.
    """
    folder = files("seqsuite.results") / "page"
    page, style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    content = content.replace("<", "\\u003c")  # no token may end the script element
    for mark, text in (("/*STYLE*/", style), ("/*SCRIPT*/", script), ("/*DATA*/", content)):
        page = page.replace(mark, text, 1)
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from error
