"""Results as text for a terminal, Markdown, CSV, JSON or LaTeX."""

import csv
import dataclasses
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqsuite.results.table import PaperRow, Results, Row, Section, describe

FORMATS = ("table", "md", "csv", "json", "latex")
_PIPED_WIDTH = 200


def print_results(results: Results, style: str = "table", file: TextIO | None = None) -> None:
    """Write results to ``file`` (standard output by default) in one of :data:`FORMATS`.

    ``table`` fits the terminal's width and uses its colours; into a file or pipe it is plain text.
    """
    file = file or sys.stdout
    if style != "table":
        file.write(_WRITERS[style](results))
    elif file.isatty():
        _print_table(results, Console(file=file, highlight=False))
    else:
        buffer = io.StringIO()
        _print_table(results, Console(file=buffer, highlight=False, color_system=None, width=_PIPED_WIDTH))
        file.writelines(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def quantity(value: float | None) -> str:
    """Return a count in three digits: ``"1.23 M"``, ``"45.6 k"``, ``"789"``, or a dash for none."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}" if value < 999.5 * limit else f"{value / limit:.0f}{unit}"
    return f"{value:.0f}"


def number(value: float, metric: str) -> str:
    """Return a metric's value with the digits that matter: two for a percentage, three for bits."""
    return f"{value:.2f}" if metric == "accuracy" else f"{value:.3f}"


def mean_and_spread(row: Row, metric: str) -> str:
    """Return ``"mean ± standard deviation"``, or the value alone for a single seed."""
    mean = number(row.mean, metric)
    return mean if row.spread is None else f"{mean} ± {number(row.spread, metric)}"


def metric_label(metric: str) -> str:
    """Return a metric's name in words, with its unit: ``"bits per base"``, ``"accuracy (%)"``."""
    return "accuracy (%)" if metric == "accuracy" else metric.replace("_", " ")


def _heading(section: Section) -> str:
    direction = "higher" if section.higher_is_better else "lower"
    return (
        f"{section.task}, scale={section.scale}: test {metric_label(section.metric)}, {direction} is better"
    )


def _baseline(section: Section) -> str:
    """Return the baseline in words; several where the rows' tasks differ in their options."""
    baselines = {
        f"{number(row.baseline[1], section.metric)} ({row.baseline[0]})"
        for row in section.rows
        if row.baseline
    }
    return f"Baseline: {', '.join(sorted(baselines))}"


def _cells(section: Section) -> tuple[list[str], list[list[str]]]:
    """Return a section's column names and its rows as text."""
    names = ["model", metric_label(section.metric), "seeds", "params", "tok/s", "steps"]
    with_options = any(row.options for row in section.rows)
    rows = [
        [
            row.model,
            mean_and_spread(row, section.metric),
            str(len(row.values)),
            quantity(row.parameters),
            quantity(row.tokens_per_second),
            str(row.steps or "–"),
            *([options_text(row, section)] if with_options else []),
        ]
        for row in section.rows
    ]
    return names + (["options"] if with_options else []), rows


def options_text(row: Row, section: Section) -> str:
    """Return a row's options as they are set: ``model.block.name`` is ``block``.

    A key is shown by its last part where no other of the section ends alike.
    """
    settings = {key: key.removesuffix(".name") for other in section.rows for key in other.options}
    ends = Counter(setting.rpartition(".")[2] for setting in settings.values())
    short = {
        key: end if ends[end := setting.rpartition(".")[2]] == 1 else setting
        for key, setting in settings.items()
    }
    return _options({short[key]: value for key, value in row.options.items()})


def _options(options: Mapping[str, str]) -> str:
    return " ".join(f"{key}={'none' if value == 'null' else value}" for key, value in options.items())


def _by_source(paper: Sequence[PaperRow]) -> dict[str, list[PaperRow]]:
    """Group published numbers under the caption that says where and with what budget they were reached."""
    groups: dict[str, list[PaperRow]] = {}
    for row in paper:
        groups.setdefault(f"{row.source} ({row.protocol})", []).append(row)
    return groups


def _print_table(results: Results, console: Console) -> None:
    for section in results.sections:
        names, rows = _cells(section)
        console.print(Text(_heading(section), style="bold"))
        _print_rows(console, names, rows, numeric=range(1, 6))
        console.print(Text(_baseline(section)))
        for caption, published in _by_source(section.paper).items():
            console.print(Text(f"\nPublished: {caption}"))
            lines = [[row.model, number(row.value, row.metric)] for row in published]
            _print_rows(console, ["model", metric_label(published[0].metric)], lines, numeric=[1])
        console.print()
    if results.unfinished:
        console.print(Text(f"Not in the tables: {describe(results.unfinished)}."))


def _print_rows(
    console: Console, names: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int]
) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    if not console.is_terminal:
        table.box, table.padding = None, (0, 2, 0, 0)
    for index, name in enumerate(names):
        # Words may wrap; a number never does.
        if index in numeric:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _markdown(results: Results) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    text = ""
    for section in results.sections:
        names, rows = _cells(section)
        text += f"### {_heading(section)}\n\n" + line(names)
        text += line(["---"] + ["---:"] * 5 + ["---"] * (len(names) - 6))
        text += "".join(line(row) for row in rows) + f"\n{_baseline(section)}\n\n"
        for caption, published in _by_source(section.paper).items():
            text += f"Published: {caption}\n\n"
            text += line(["model", metric_label(published[0].metric)]) + line(["---", "---:"])
            text += "".join(line([row.model, number(row.value, row.metric)]) for row in published) + "\n"
    return text


_CSV_COLUMNS = (
    "task",
    "scale",
    "model",
    "options",
    "metric",
    "higher_is_better",
    "test_mean",
    "test_spread",
    "seeds",
    "validation_mean",
    "baseline",
    "baseline_value",
    "parameters",
    "tokens_per_second",
    "train_seconds",
    "steps",
    "source",
    "protocol",
)


def _csv(results: Results) -> str:
    """One line a row and a published number; the latter have a source, and no seeds."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for section in results.sections:
        shared = {"task": section.task, "scale": section.scale}
        for row in section.rows:
            name, value = row.baseline or (None, None)
            writer.writerow(
                shared
                | {
                    "model": row.model,
                    "options": _options(row.options),
                    "metric": section.metric,
                    "higher_is_better": str(section.higher_is_better).lower(),
                    "test_mean": row.mean,
                    "test_spread": row.spread,
                    "seeds": len(row.values),
                    "validation_mean": row.validation,
                    "baseline": name,
                    "baseline_value": value,
                    "parameters": row.parameters,
                    "tokens_per_second": row.tokens_per_second,
                    "train_seconds": row.train_seconds,
                    "steps": row.steps,
                    "source": "seqsuite " + " ".join(row.versions),
                }
            )
        for published in section.paper:
            writer.writerow(
                {
                    "task": section.task,
                    "model": published.model,
                    "metric": published.metric,
                    "test_mean": published.value,
                    "source": published.source,
                    "protocol": published.protocol,
                }
            )
    return out.getvalue()


def _json(results: Results) -> str:
    """Everything that :class:`Results` holds; a metric that is not finite is ``null``."""
    return json.dumps(_finite(dataclasses.asdict(results)), indent=2, ensure_ascii=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _latex(results: Results) -> str:
    """One ``tabular`` a section, for ``booktabs``."""
    text = ""
    for section in results.sections:
        names, rows = _cells(section)
        text += f"% {_heading(section)}\n"
        text += "\\begin{tabular}{l" + "r" * 5 + "l" * (len(names) - 6) + "}\n\\toprule\n"
        text += _latex_line(names) + "\\midrule\n" + "".join(_latex_line(row) for row in rows)
        text += _latex_note(_baseline(section), len(names))
        for caption, published in _by_source(section.paper).items():
            text += _latex_note(f"Published: {caption}", len(names))
            for row in published:
                text += _latex_line([row.model, number(row.value, row.metric), *[""] * (len(names) - 2)])
        text += "\\bottomrule\n\\end{tabular}\n\n"
    return text


def _latex_note(note: str, columns: int) -> str:
    return f"\\midrule\n\\multicolumn{{{columns}}}{{l}}{{{_escape(note)}}} \\\\\n"


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(_escape(cell) for cell in cells) + " \\\\\n"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "–": "--",
    }
)


def _escape(text: str) -> str:
    return text.translate(_LATEX)


_WRITERS: dict[str, Callable[[Results], str]] = {
    "md": _markdown,
    "csv": _csv,
    "json": _json,
    "latex": _latex,
}
