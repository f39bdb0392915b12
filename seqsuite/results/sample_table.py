"""What was measured on generated samples, as a table: whatever a task or its judge names."""

from collections.abc import Sequence

from seqsuite import report
from seqsuite.report import Column
from seqsuite.report import Row as Cells
from seqsuite.results.measured import of_samples
from seqsuite.results.scores import score_cells, score_column
from seqsuite.results.table import Row, Section

_DIGITS = 3


def sample_metrics(section: Section) -> list[str]:
    """Return the names of what was measured on samples, without ``sample/``: ``fid``, ``of_test/fid`` …"""
    names = (of_samples(name) for row in section.rows for name in row.scores)
    return sorted({name for name in names if name is not None})


def sample_table(section: Section, names: Sequence[str]) -> report.Section:
    """Return the section's models by what was measured on their samples.

    A name with a group before it, such as ``of_test/fid``, is in a row of its own below the model's; so are
    published numbers.
    """
    metrics = list(dict.fromkeys(name.rpartition("/")[2] for name in names))
    groups = sorted({name.rpartition("/")[0] for name in names})
    columns = [Column("label", "model")]
    columns += [score_column(f"{metric}_{{}}", metric.replace("_", " "), _DIGITS) for metric in metrics]
    rows: list[Cells] = []
    for row in section.rows:
        for group in groups:
            cells = _cells(row, group, metrics)
            if len(cells) > 1:
                rows.append(cells)
        paper: Cells = {
            f"{of_samples(name)}_mean": value.value for name, value in row.paper.items() if of_samples(name)
        }
        if paper:
            rows.append({"label": "  paper", **paper})
    title = f"{section.title}: measured on generated samples"
    about = {"task": section.task, "scale": section.scale, "data": section.data}
    return report.Section("samples", title, tuple(columns), rows, about=about)


def _cells(row: Row, group: str, metrics: Sequence[str]) -> Cells:
    cells: Cells = {"label": f"  {group.replace('_', ' ')}" if group else row.label}
    for metric in metrics:
        score = row.scores.get(f"sample/{group}/{metric}" if group else f"sample/{metric}")
        if score is not None:
            cells |= score_cells(f"{metric}_{{}}", score)
    return cells
