"""Reports as Markdown, LaTeX and HTML: the same text of the same columns in each."""

from collections.abc import Callable, Iterable, Sequence
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
        table = markdown_table(section.columns, _marked(section, "**{}**"))
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
            *(f"{' & '.join(row)} \\\\" for row in _marked(section, r"\textbf{{{}}}", _escape)),
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
    parts += [html_section(section) for section in report.sections]
    parts += [f"<p>{escape_html(note)}</p>" for note in report.notes]
    return "\n".join([*parts, "</body></html>\n"])


def html_section(section: Section, level: int = 2) -> str:
    """Return a section as HTML: a heading of a level, a table, and its notes."""
    heads = _html_cells("th", section.columns, [escape_html(column.title) for column in section.columns])
    title = escape_html(section.title)
    parts = [f"<h{level}>{title}</h{level}>", f"<table><thead>{heads}</thead><tbody>"]
    parts += [_html_cells("td", section.columns, row) for row in _marked(section, "<b>{}</b>", escape_html)]
    parts.append("</tbody></table>")
    parts += [f"<p>{escape_html(note)}</p>" for note in section.notes]
    return "\n".join(parts)


def _marked(section: Section, bold: str, escape: Callable[[str], str] = str) -> list[list[str]]:
    """Return a section's rows as escaped text, with the form for what is bold around it."""
    return [
        [
            bold.format(escape(text)) if (number, column.key) in section.bold else escape(text)
            for column, text in zip(section.columns, row, strict=True)
        ]
        for number, row in enumerate(shown(section))
    ]


def shown(section: Section) -> list[list[str]]:
    """Return a section's rows as text, column by column."""
    return [[column.show(row) for column in section.columns] for row in section.rows]


def _machine(report: Report) -> str:
    return "; ".join(f"{key}: {value}" for key, value in report.machine.items())


def _html_cells(tag: str, columns: Sequence[Column], cells: Sequence[str]) -> str:
    opened = (f"<{tag}>" if column.is_text else f'<{tag} class="number">' for column in columns)
    filled = (f"{start}{cell}</{tag}>" for start, cell in zip(opened, cells, strict=True))
    return f"<tr>{''.join(filled)}</tr>"


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(map(_escape, cells)) + " \\\\"


def _escape(text: str) -> str:
    return text.translate(_LATEX)
