"""The tables of docs/triton.md, made from what ``seqsuite.bench.gpu_report`` found."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from seqsuite.report.format import show

Columns = Sequence[tuple[str, str, str]]
"""Key, title and kind of each column; see :func:`seqsuite.report.format.show`."""

TABLES: dict[str, Columns] = {
    "train": (
        ("model", "model", "text"),
        ("size", "size", "text"),
        ("batch", "B", "count"),
        ("seqlen", "L", "count"),
        ("eager_tokens_per_second", "tokens/s", "quantity"),
        ("graph_tokens_per_second", "tokens/s in a graph", "quantity"),
        ("share_of_peak", "of the peak", "share"),
        ("note", "note", "text"),
    ),
    "scan-graph": (
        ("peer", "peer", "text"),
        ("seqlen", "L", "count"),
        ("work", "work", "text"),
        ("eager_s", "called", "seconds"),
        ("graph_s", "in a graph", "seconds"),
        ("note", "note", "text"),
    ),
    "decode-graph": (
        ("model", "model", "text"),
        ("size", "size", "text"),
        ("eager_s", "a step", "seconds"),
        ("decoder_s", "a decoder's step", "seconds"),
        ("weights_s", "reading the weights", "seconds"),
        ("over_weights", "÷ reading", "ratio"),
    ),
    "norm": (
        ("rows", "rows", "count"),
        ("width", "D", "count"),
        ("backend", "backend", "text"),
        ("both_s", "forward + backward", "seconds"),
    ),
    "task": (("metric", "metric", "text"), ("value", "value", "quantity")),
}
"""Of the parts that are rows themselves, by their first word; those of ``seqsuite bench`` have sections."""

MARKED = re.compile(r"<!-- gpu ([a-z0-9-]+(?: [a-z_]+)?) -->\n.*?<!-- end -->", re.DOTALL)


def renew(page: str, found: Mapping[str, Any]) -> str:
    """Return the page with what is between ``<!-- gpu PART -->`` and ``<!-- end -->`` made anew."""
    return MARKED.sub(lambda match: f"<!-- gpu {match[1]} -->\n{text(match[1], found)}\n<!-- end -->", page)


def text(part: str, found: Mapping[str, Any]) -> str:
    """Return what was found by a part: a table, or a sentence that says why there is none."""
    result = found["parts"].get(part)
    if result is None:
        return "Not measured."
    reason = " ".join(str(result.get("failed", "")).strip().splitlines()[-1:])
    if "found" not in result:
        return f"Not measured: {reason}"
    kind = part.partition(" ")[0]
    if kind in TABLES:
        table = _table(TABLES[kind], result["found"])
        return f"{table}\n\nNot all was measured: {reason}." if reason else table
    if isinstance(result["found"], str):
        return f"```\n{result['found']}\n```"
    sections = (section for section in result["found"]["sections"] if section["kind"] in ("times", "growth"))
    return "\n\n".join(f"**{section['title']}**\n\n{_bench_table(section['rows'])}" for section in sections)


BENCH_COLUMNS: Columns = (
    ("seqlen", "L", "count"),
    ("work", "work", "text"),
    ("peer", "peer", "text"),
    ("ratio", "÷ ours", "ratio"),
    ("median_s", "median", "seconds"),
    ("tokens_per_second", "tokens/s", "quantity"),
    ("note", "note", "text"),
)


def _bench_table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = [column for column in BENCH_COLUMNS if any(row.get(column[0]) is not None for row in rows)]
    return _table(columns, rows)


def _table(columns: Columns, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [[title for _, title, _ in columns], ["---"] * len(columns)]
    lines += [[show(row.get(key), kind) for key, _, kind in columns] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
