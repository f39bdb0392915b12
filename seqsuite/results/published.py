"""Published numbers beside our rows, joined by settings."""

from collections.abc import Sequence
from dataclasses import replace

from seqsuite.results.filters import same_value
from seqsuite.results.measured import of_samples
from seqsuite.results.studies import Published, Study, load_studies
from seqsuite.results.studies.study import PublishedRow, Setting, matches
from seqsuite.results.table import Paper, Row, Section, Unmatched

_SECONDARY = "secondary transcription"
_USUAL_BUDGET = ("train.steps", "train.batch_size", "model.n_layer", "model.d_model")
"""What is told of our runs where a study does not say what budget the paper's numbers had."""


def join_published(
    sections: Sequence[Section], study: Study | None = None
) -> tuple[list[Section], list[str]]:
    """Return the sections with published numbers, and a sentence about each study that cannot be read.

    Args:
        sections: What to put them beside.
        study: The study whose numbers they are; by default those of all that are installed.
    """
    if study is not None:
        return [_join(section, sections, [study]) for section in sections], []
    studies, problems = load_studies()
    return [_join(section, sections, list(studies.values())) for section in sections], problems


def _join(section: Section, sections: Sequence[Section], studies: Sequence[Study]) -> Section:
    papers: list[dict[str, Paper]] = [{} for _ in section.rows]
    unmatched: list[Unmatched] = []
    notes: list[str] = []
    known = {name for row in section.rows for name in row.scores}
    for study in studies:
        for published in study.published:
            if published.task != section.task or not _is_of_its_data(published, section):
                continue
            joined = False
            for entry in published.entries():
                found = {
                    name: _paper(study, published, value)
                    for name, value in entry.values.items()
                    if name in known or _ranks(name, section)
                }
                if not found:  # measured in another way, such as a perplexity by words beside bits by bytes
                    continue
                places = [
                    place for place, row in enumerate(section.rows) if matches(entry.settings, row.settings)
                ]
                for place in places:
                    papers[place] |= {
                        name: paper for name, paper in found.items() if name not in papers[place]
                    }
                    joined |= any(_is_shown(name, section) for name in found)
                if not places and _is_place(section, sections, entry):
                    unmatched += [
                        Unmatched(_label(entry), metric, paper)
                        for metric, paper in found.items()
                        if _is_shown(metric, section)
                    ]
            if joined:
                notes.append(_note(study, published, section.rows))
    rows = tuple(replace(row, paper=paper) for row, paper in zip(section.rows, papers, strict=True))
    return replace(section, rows=rows, unmatched=tuple(unmatched), notes=(*section.notes, *notes))


def _is_of_its_data(published: Published, section: Section) -> bool:
    """Return whether numbers that are of certain settings of the task are of a section's."""
    wanted = {key: value for key, value in published.where.items() if key.startswith("task.")}
    return any(matches(wanted, row.settings) for row in section.rows)


def _is_place(section: Section, sections: Sequence[Section], entry: PublishedRow) -> bool:
    """Return whether numbers that stand beside no row are shown in a section.

    That is the one whose rows have their settings of the task, or the last where none has: numbers at six
    lengths are not shown again at each of ours.
    """
    alike = [other for other in sections if (other.task, other.scale) == (section.task, section.scale)]
    wanted = {key: value for key, value in entry.settings.items() if key.startswith("task.")}
    having = [other for other in alike if any(matches(wanted, row.settings) for row in other.rows)]
    return section in having if having else section is alike[-1]


def _ranks(metric: str, section: Section) -> bool:
    """Return whether a published value is of the metric by which a section compares its rows."""
    return of_samples(metric) is None and metric.rpartition("/")[2] == section.metric.name


def _is_shown(metric: str, section: Section) -> bool:
    """Return whether a published value has a place in a section's tables."""
    return _ranks(metric, section) or of_samples(metric) is not None


def _paper(study: Study, published: Published, value: float) -> Paper:
    source = f"{study.source} ({_SECONDARY})" if published.secondary else study.source
    return Paper(value, source, published.protocol)


def _label(entry: PublishedRow) -> str:
    """Return a published row's settings as they are written on the command line, without ``model.``."""
    return " ".join(f"{key.removeprefix('model.')}={_text(value)}" for key, value in entry.settings.items())


def _note(study: Study, published: Published, rows: Sequence[Row]) -> str:
    """Say where the numbers are from, with what budget, and in what ours differs."""
    paper = _paper(study, published, 0.0)
    text = f"Paper: {paper.source}"
    if published.protocol:
        text += f"; {published.protocol}"
    recorded = [key for key in _USUAL_BUDGET if all(key in row.settings for row in rows)]
    budget: dict[str, Setting] = published.budget or dict.fromkeys(recorded, "")
    differing = [
        f"{key}={' or '.join(ours)}"
        for key, theirs in budget.items()
        if (ours := sorted({_recorded(row, key) for row in rows if not _same(row, key, theirs)}))
    ]
    return f"{text}. Here: {', '.join(differing)}." if differing else f"{text}."


def _recorded(row: Row, key: str) -> str:
    return row.settings.get(key, "?")


def _same(row: Row, key: str, theirs: Setting) -> bool:
    return same_value(_recorded(row, key), _text(theirs))


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
