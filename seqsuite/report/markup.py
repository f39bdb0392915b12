"""Reports as Markdown, LaTeX and HTML: the same text of the same columns in each."""

from collections.abc import Iterable, Sequence
from html import escape as escape_html

from seqsuite.report.model import Column, Report, Section

_STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2rem}table{border-collapse:collapse;margin:.5rem 0}"
    "th,td{padding:.2rem .6rem;text-align:left}td.number,th.number{text-align:right;"
    "font-variant-numeric:tabular-nums}thead{border-bottom:1px solid}"
)
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
        "×": r"$\times$",
        "÷": r"$\div$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "µ": r"$\mu$",
        "–": "--",
        "…": r"\dots{}",
    }
)


def markdown_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table of shown cells, numbers to the right."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    rule = line("---" if column.is_text else "---:" for column in columns)
    return line(column.title for column in columns) + rule + "".join(map(line, rows))


def markdown(report: Report) -> str:
    """Return a report as Markdown, a heading and a table a section."""
    parts = [f"{report.command}\n{_machine(report)}\n"] if report.machine else []
    for section in report.sections:
        table = markdown_table(section.columns, shown(section))
        notes = "".join(f"\n{note}\n" for note in section.notes)
        parts.append(f"### {section.title}\n\n{table}{notes}")
    parts += [f"{note}\n" for note in report.notes]
    return "\n".join(parts)


def latex(report: Report) -> str:
    """Return a report as LaTeX: one ``tabular`` a section, for the package booktabs."""
    parts = [f"% {_escape(report.command)}\n"]
    for section in report.sections:
        alignment = "".join("l" if column.is_text else "r" for column in section.columns)
        lines = [
            f"% {_escape(section.title)}",
            f"\\begin{{tabular}}{{{alignment}}}",
            "\\toprule",
            _latex_line(column.title for column in section.columns),
            "\\midrule",
            *(_latex_line(row) for row in shown(section)),
            *(["\\midrule"] if section.notes else []),
            *(
                f"\\multicolumn{{{len(section.columns)}}}{{l}}{{{_escape(note)}}} \\\\"
                for note in section.notes
            ),
            "\\bottomrule",
            "\\end{tabular}",
        ]
        parts.append("\n".join(lines) + "\n")
    parts += [f"% {_escape(note)}\n" for note in report.notes]
    return "\n".join(parts)


def html(report: Report) -> str:
    """Return a report as a page of HTML that needs nothing else."""
    title = escape_html(report.command)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>',
        f"<body><p><code>{title}</code></p>",
    ]
    if report.machine:
        parts.append(f"<p>{escape_html(_machine(report))}</p>")
    for section in report.sections:
        heads = _html_cells("th", section.columns, [column.title for column in section.columns])
        parts += [f"<h2>{escape_html(section.title)}</h2>", f"<table><thead>{heads}</thead><tbody>"]
        parts += [_html_cells("td", section.columns, row) for row in shown(section)]
        parts.append("</tbody></table>")
        parts += [f"<p>{escape_html(note)}</p>" for note in section.notes]
    parts += [f"<p>{escape_html(note)}</p>" for note in report.notes]
    return "\n".join([*parts, "</body></html>\n"])


def shown(section: Section) -> list[list[str]]:
    """Return a section's rows as text, column by column."""
    return [[column.show(row) for column in section.columns] for row in section.rows]


def _machine(report: Report) -> str:
    return "; ".join(f"{key}: {value}" for key, value in report.machine.items())


def _html_cells(tag: str, columns: Sequence[Column], cells: Sequence[str]) -> str:
    opened = (f"<{tag}>" if column.is_text else f'<{tag} class="number">' for column in columns)
    filled = (f"{start}{escape_html(cell)}</{tag}>" for start, cell in zip(opened, cells, strict=True))
    return f"<tr>{''.join(filled)}</tr>"


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(map(_escape, cells)) + " \\\\"


def _escape(text: str) -> str:
    return text.translate(_LATEX)
