"""Renders what was run: ``make results`` makes the pages of ``docs/results`` from the exports there.

An export is a file that ``seqsuite results --export`` wrote, of runs or of benchmarks, and called after the
study that they are of; any other name is that of a table of all its runs. The runs of built-in models that
come with the package, beside the battery of ``seqsuite scorecard``, make the page of the card, and what
``seqsuite scorecard … --format json > docs/results/costs/scorecard.json`` wrote has its costs. Each has a
page with its tables, pictures, command, hours and machine, and a line in ``index.md``. ``why.toml`` has by
name sentences on what is seen; the sentences are typed, all else is made.
"""

import json
import sys
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.export import FileReader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Report, Section, from_json
from seqsuite.report.markup import markdown
from seqsuite.report.pictures import svg_bytes
from seqsuite.results.benchmark_figure import benchmark_figure
from seqsuite.results.benchmarks import Benchmark, read_benchmarks
from seqsuite.results.collect import collect
from seqsuite.results.figures import comparison
from seqsuite.results.formats import results_report
from seqsuite.results.growth_tables import with_growth_tables
from seqsuite.results.scorecard.battery import read_battery, slots
from seqsuite.results.scorecard.card import by_cell, make_card
from seqsuite.results.scorecard.picture import card_figure
from seqsuite.results.scorecard.table import card_report, differences
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.outcome import study_report
from seqsuite.results.studies.pictures import study_figure
from seqsuite.results.studies.plan import standing, study_benchmarks, study_cells, study_reader
from seqsuite.results.studies.study import place_of
from seqsuite.results.studies.verdict import compared, mark

RESULTS = Path(__file__).parent / "results"
TIMES = Path(__file__).parents[1] / "seqsuite/results/studies/times.json"
"""How long the runs of studies took, which comes with the package."""
CARDS = sorted((Path(__file__).parents[1] / "seqsuite/results/scorecard").glob("builtin-*.json"))
"""The runs of built-in models that come with the package, by scale."""
COSTS = RESULTS / "costs/scorecard.json"
"""What the models of the card cost: the card's own JSON, which holds no runs."""


@dataclass(frozen=True)
class Part:
    """What one export has of one study, or of something else.

    Attributes:
        name: The study's name.
        title: What it is about.
        scale: The scale of its runs.
        done: How much of it there is.
        seconds: How long that took, or ``None`` if it was not recorded.
        mark: Whether the order of the models is the paper's.
        text: Its part of the page, in Markdown.
        pictures: Its pictures by file name.
    """

    name: str
    title: str
    scale: str
    done: str
    seconds: float | None
    mark: str
    text: str
    pictures: dict[str, Figure]


def render(exports: Path, cards: Sequence[Path] = ()) -> tuple[dict[str, str], dict[str, Figure]]:
    """Return the pages of all exports in a folder, and of cards, by name, and their pictures by file name."""
    why = exports / "why.toml"
    notes = tomllib.loads(why.read_text(encoding="utf-8")) if why.exists() else {}
    parts = [part for export in [*sorted(exports.glob("*.json")), *cards] for part in parts_of(export)]
    parts.sort(key=lambda part: (part.name == part.title, place_of(part.name)))
    pages = {"index": _index(parts, notes)}
    for name in dict.fromkeys(part.name for part in parts):
        own = [part for part in parts if part.name == name]
        told = [notes[name]] if name in notes else []
        pages[name] = "\n\n".join([f"# {_headline(own[0])}", *told, *(part.text for part in own)]) + "\n"
    return pages, {file: figure for part in parts for file, figure in part.pictures.items()}


def seconds_a_cell(exports: Path) -> dict[str, dict[str, int]]:
    """Return by scale and study how long a cell trained, or a benchmark took, for ``reproduce --list``."""
    studies = load_studies()[0]
    found: dict[str, dict[str, int]] = {}
    for export in sorted(exports.glob("*.json")):
        study = studies.get(export.stem)
        if study is None:
            continue
        benchmarks = read_benchmarks(export)
        if benchmarks is not None:
            for scale in study.benches:
                times = [one.seconds for one in study_benchmarks(study, scale, benchmarks)]
                if times and None not in times:
                    found.setdefault(scale, {})[export.stem] = round(sum(filter(None, times)) / len(times))
            continue
        runs = FileReader(export).cells()
        for scale in study.grids:
            stands = standing(study_cells(export.stem, study, scale), runs)
            if stands.finished:
                found.setdefault(scale, {})[export.stem] = round(stands.seconds / stands.finished)
    return found


def parts_of(export: Path) -> Iterator[Part]:
    """Yield what an export has: of its study, or of a card, or else all its runs."""
    studies = load_studies()[0]
    study = studies.get(export.stem)
    benchmarks = read_benchmarks(export)
    if benchmarks is not None and study is not None:
        yield from _of_benchmarks(export, study, benchmarks)
    elif study is not None:
        yield from _of_study(export, study, FileReader(export))
    elif export.stem.startswith("builtin-"):
        yield from _of_scorecard(export, FileReader(export))
    elif benchmarks is None:
        yield _of_others(export, FileReader(export))


def _of_study(export: Path, study: Study, reader: FileReader) -> Iterator[Part]:
    name = export.stem
    for scale in study.grids:
        try:
            cells = study_cells(name, study, scale)
        except UserError:  # a task that is not installed here
            continue
        stands = standing(cells, reader.cells())
        if not stands.finished:
            continue
        ours = study_reader(study, reader, cells)
        results = collect(ours, study=study)
        command = f"seqsuite reproduce {name} --scale {scale}"
        pictures = {f"{name}-{scale}.svg": study_figure(study, ours, results)} if study.figures else {}
        pictures[f"{name}-{scale}-learning.svg"] = comparison(ours, results)
        done = f"{stands.finished} of {stands.cells} cells"
        told = (
            f"`{command}`: {done}, {stands.seconds / 3600:.1f} hours of training on "
            f"{_hardware(ours.cells())}; the runs are in `docs/results/{export.name}`."
        )
        tables = markdown(study_report(name, study, scale, ours, results, command))
        verdict = mark(study, scale, compared(study, results))
        text = _text(f"scale={scale}", told, pictures, tables, study.question)
        yield Part(name, study.title, scale, done, stands.seconds, verdict, text, pictures)


def _of_benchmarks(export: Path, study: Study, benchmarks: Sequence[Benchmark]) -> Iterator[Part]:
    name = export.stem
    for scale in study.benches:
        found = study_benchmarks(study, scale, benchmarks)
        if not found:
            continue
        reports = [benchmark.report for benchmark in found]
        times = [benchmark.seconds for benchmark in found if benchmark.seconds is not None]
        seconds = sum(times) if len(times) == len(found) else None
        took = f", {seconds / 60:.0f} minutes" if seconds is not None else ""
        done = f"{len(found)} of {len(study.benches[scale])} benchmarks"
        told = (
            f"`seqsuite reproduce {name} --scale {scale}`: {done}{took}; the numbers are in "
            f"`docs/results/{export.name}`."
        )
        pictures = {f"{name}-{scale}.svg": benchmark_figure(reports)}
        tables = "\n".join(_with_machine(report) for report in reports)
        finding = (
            f"{study.question}\n\nFound in the paper: {study.finding}" if study.finding else study.question
        )
        text = _text(f"scale={scale}", told, pictures, tables, finding)
        yield Part(name, study.title, scale, done, seconds, "–", text, pictures)


def _of_scorecard(export: Path, reader: FileReader) -> Iterator[Part]:
    """Yield the card of the reference, beside the other models that the export has."""
    battery = read_battery()
    models = list(dict.fromkeys(run.tags[schema.TAG_MODEL] for run in reader.cells()))
    models.sort(key=lambda model: model != battery.reference)
    for scale in battery.scales:
        try:
            every = slots(battery, scale, [f"model={','.join(reversed(models))}"])
        except UserError:  # a model that is not installed here, or cannot be matched
            continue
        runs = by_cell(reader.cells())
        ids = frozenset(run.run_id for slot in every if (run := runs(slot.cell)) is not None)
        if not ids:
            continue
        command = f"seqsuite scorecard model={','.join(reversed(models))} --scale {scale}"
        card = make_card(battery, scale, every, runs, candidate=models[0], about="", command=command)
        if not card.lines:
            continue
        used = [run for run in reader.cells() if run.run_id in ids]
        seconds = sum(run.metrics.get(schema.TRAIN_SECONDS, 0.0) for run in used)
        pictures = {f"scorecard-{scale}.svg": card_figure(card)}
        told = (
            f"`{command}`: {len(used)} cells, {seconds / 3600:.1f} hours of training on {_hardware(used)}; "
            f"the runs are in `seqsuite/results/scorecard/{export.name}`."
        )
        report = card_report(card, [], {})
        tables = markdown(replace(report, sections=[*report.sections, differences(card), *_costs(scale)]))
        text = _text(f"scale={scale}", told, pictures, tables, "How good is an architecture at small tests?")
        done = f"{len(used)} cells"
        yield Part("scorecard", "The card of models", scale, done, seconds, "–", text, pictures)


def _costs(scale: str) -> list[Section]:
    """Return the table of what the card's models cost, if it was measured at that scale."""
    if not COSTS.exists():
        return []
    found = from_json(json.loads(COSTS.read_text(encoding="utf-8")))
    is_of_scale = any(section.about.get("scale") == scale for section in found.sections)
    return [section for section in found.sections if section.kind == "cost" and is_of_scale]


def _of_others(export: Path, reader: FileReader) -> Part:
    results = collect(reader)
    name, cells = export.stem, reader.cells()
    seconds = sum(run.metrics.get(schema.TRAIN_SECONDS, 0.0) for run in cells)
    scales = ", ".join(sorted({section.scale for section in results.sections}))
    pictures = {f"{name}.svg": comparison(reader, results)}
    told = (
        f"{len(cells)} runs, {seconds / 3600:.1f} hours of training on {_hardware(cells)}; they are in "
        f"`docs/results/{export.name}`."
    )
    text = _text(f"scale={scales}", told, pictures, markdown(results_report(results)), "")
    return Part(name, name, scales, f"{len(cells)} runs", seconds, "–", text, pictures)


def _text(heading: str, told: str, pictures: dict[str, Figure], tables: str, question: str) -> str:
    images = "\n\n".join(f"![{_alt(file)}]({file})" for file in pictures)
    return "\n\n".join(filter(None, [f"## {heading}", question, told, images, tables.strip()]))


def _alt(file: str) -> str:
    if file.endswith("-learning.svg"):
        return "How each model learned, and what it reached"
    return "What was measured; the tables below have the numbers"


def _with_machine(report: Report) -> str:
    """Return a report's tables in Markdown, below its command and the machine."""
    machine = "; ".join(f"{key}: {value}" for key, value in report.machine.items())
    shown = with_growth_tables(report)
    sections = markdown(Report(report.command, {}, shown.sections, report.notes))
    return f"`{report.command}` on {machine}.\n\n{sections}"


def _index(parts: Sequence[Part], notes: Mapping[str, str]) -> str:
    lines = [
        f"| [{_headline(part)}]({part.name}.md) | {part.scale} | {part.done} | {_hours(part.seconds)} "
        f"| {part.mark} |"
        for part in parts
    ]
    pages = "\n".join(dict.fromkeys(part.name for part in parts))
    return (
        "# Results\n\n"
        "What was run of each study, made by `make results` from the exports beside these pages "
        "(`seqsuite results --from FILE` shows one). Everything was run at the budget that the scale says, "
        "which is not the paper's.\n\n"
        "| study | scale | finished | hours | order of the models |\n|---|---|---|---:|---|\n"
        + "\n".join(lines)
        + "\n\nThe order is that of the paper if every expected difference, paired by seed, has a 95 % "
        "bootstrap interval above zero; it is not if one is below it.\n\n"
        + _without_results({part.name for part in parts}, notes)
        + f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{pages}\n```\n"
    )


def _without_results(names: Collection[str], notes: Mapping[str, str]) -> str:
    """Return which of the suite's studies have no export, and why, where that was written."""
    rows = [
        f"- {name}: {study.title}. {notes.get(name, '')}".rstrip() + "\n"
        for name, study in load_studies()[0].items()
        if name not in names
    ]
    return "\n".join(["Without results so far:\n", "".join(rows), ""]) if rows else ""


def _headline(part: Part) -> str:
    return part.name.replace("_", " ") if part.name == part.title else f"{part.name}: {part.title}"


def _hours(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 3600:.1f}"


def _hardware(runs: Sequence[CellRun]) -> str:
    """Return what the runs were trained by."""
    unknown = "hardware that was not recorded"
    return "; ".join(sorted({run.tags.get(schema.TAG_HARDWARE, unknown) for run in runs}))


if __name__ == "__main__":
    texts, figures = render(RESULTS, CARDS)
    for page, text in texts.items():
        (RESULTS / f"{page}.md").write_text(text, encoding="utf-8")
    for file, figure in figures.items():
        (RESULTS / file).write_bytes(svg_bytes(figure))
    TIMES.write_text(json.dumps(seconds_a_cell(RESULTS), indent=1) + "\n", encoding="utf-8")
    print(f"{len(texts)} pages and {len(figures)} pictures in {RESULTS}.", file=sys.stderr)
