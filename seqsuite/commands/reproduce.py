"""``seqsuite reproduce NAME``: run what is missing of a study, and show it."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from seqsuite import report
from seqsuite.commands.bench import run_benchmark
from seqsuite.commands.console import make_console
from seqsuite.commands.group import EXIT_INTERRUPTED
from seqsuite.commands.plan import check_probe, print_plan
from seqsuite.commands.run import exit_status, print_failures, run_shown
from seqsuite.commands.zero_shot import reproduce_zero_shot
from seqsuite.errors import UserError
from seqsuite.experiments.cell import GOOD
from seqsuite.experiments.identity import identity_of
from seqsuite.experiments.tracking.export import FileReader, export_runs
from seqsuite.experiments.tracking.reader import JoinedReader, Reader, open_reader
from seqsuite.report.outputs import check_output
from seqsuite.report.pictures import PictureFile, check_picture
from seqsuite.results.collect import collect
from seqsuite.results.groups import newest
from seqsuite.results.studies import Study, find_study, load_studies
from seqsuite.results.studies.outcome import study_report
from seqsuite.results.studies.plan import StudyReader, finished, study_cells, study_reader


def _run_benches(
    study: Study,
    scale: str,
    settings: Sequence[str],
    *,
    dry_run: bool,
    style: str,
    figure: PictureFile | None,
) -> int:
    """Run the benchmarks of a study, or print their commands.

    Raises:
        UserError: if settings are given, which benchmarks have not.
    """
    if settings:
        raise UserError(f"This study is of benchmarks, which take no {settings[0]}: leave it out.")
    console = make_console(stderr=style != "table")
    reports = []
    for bench in study.benches[scale]:
        console.print(f"$ {bench.command}", soft_wrap=True)
        if not dry_run:
            reports.append(run_benchmark(style=style, **bench.model_dump()))
    if study.finding:
        console.print(f"Found in the paper: {study.finding}", soft_wrap=True)
    if figure is not None and reports:
        from seqsuite.results.benchmark_figure import draw  # matplotlib, which no table needs

        draw(reports, figure)
        print(f"The picture is in {figure}.", file=sys.stderr)
    return 0


def reproduce_study(
    study: str,
    settings: Sequence[str],
    *,
    scale: str,
    dry_run: bool,
    probe: bool,
    force: bool,
    takeover: bool,
    retry_failed: bool,
    sources: Sequence[Path],
    export: Path | None,
    style: str,
    figure: PictureFile | None,
    experiment: str,
    intervals: bool = False,
) -> int:
    """Run what is missing of a study, print its table, and draw it if asked to; return the exit status.

    Args:
        study: Name, or path of a TOML file.
        settings: ``key=value`` arguments over those of its grids.
        scale: One of its scales.
        dry_run: Whether to show the cells only.
        probe: Whether a dry run takes a few steps of each cell.
        force: See :func:`~seqsuite.commands.run.run_settings`, as for the next two.
        takeover: See ``force``.
        retry_failed: See ``force``.
        sources: Files of exported runs: what is finished in them is not run again.
        export: File to write the ended runs of the study to, those of ``sources`` among them.
        style: One of :data:`seqsuite.report.FORMATS`.
        figure: Picture to draw.
        experiment: MLflow experiment.
        intervals: Whether tables show the intervals of means, and not their standard deviations.

    Raises:
        UserError: if there is no such study or scale, a setting is wrong, a file cannot be read or written,
            or no cell can run.
    """
    if figure is not None:
        check_picture(figure)
    check_output("--export", export)
    check_probe(probe, dry_run)
    name, found = find_study(study)
    for setting in settings:
        if setting in load_studies()[0]:
            raise UserError(f"Studies are run one after the other: leave {setting} for a command of its own.")
    rerun = {"force": force, "takeover": takeover, "retry_failed": retry_failed}
    if scale not in found.grids and (found.benches or found.zero_shot):
        _refuse_options_of_cells(
            shared=bool(sources) or export is not None,
            intervals=intervals,
            rerun=[f"--{name.replace('_', '-')}" for name, is_given in rerun.items() if is_given],
        )
    if scale in found.zero_shot:
        if figure is not None:
            raise UserError(
                "This study is a table of given models, of which no picture is drawn: leave --figure out."
            )
        again = shlex.join(["seqsuite", "reproduce", study, "--scale", scale, *settings])
        return reproduce_zero_shot(
            found, scale, settings, again, dry_run=dry_run, style=style, experiment=experiment
        )
    if scale in found.benches:
        return _run_benches(found, scale, settings, dry_run=dry_run, style=style, figure=figure)
    over = [*settings, f"run.experiment={experiment}"] if experiment != "seqsuite" else settings
    cells = study_cells(name, found, scale, over)
    files = [FileReader(source) for source in sources]
    shared, elsewhere = finished(cells, [run for file in files for run in file.cells()])
    missing = [cell for cell in cells if identity_of(cell) not in shared]
    console = make_console(stderr=style != "table")
    if dry_run:
        told = (*found.grids[scale], *settings)
        if missing:
            print_plan(console, missing, probe=probe, matched=any("model.match" in text for text in told))
        _tell_shared(console, len(shared), elsewhere, len(cells), sources)
        return 0
    again = _command(study, scale, over, sources)
    _tell_shared(console, len(shared), elsewhere, len(cells), sources)
    outcomes = run_shown(console, missing, again, **rerun) if missing else []
    if outcomes is None:
        return EXIT_INTERRUPTED
    print_failures(console, outcomes)
    recorded = not any(outcome.unsent for outcome in outcomes)  # else MLflow is not there to be read
    if recorded and (shared or retry_failed or any(outcome.outcome in GOOD for outcome in outcomes)):
        stores = [open_reader(cells[0].run.experiment)] if missing else []
        everything = JoinedReader([*stores, *files])
        reader = study_reader(found, everything, cells)
        if any(run.status == "FINISHED" for run in reader.cells()):
            _show(name, found, scale, reader, again, style, figure, intervals)
        if export is not None:
            ours = StudyReader(everything, cells)  # those of a sweep that were not the best, too
            print(f"{export_runs(ours, newest(ours.cells()), export)} runs in {export}.", file=sys.stderr)
    return exit_status(console, outcomes, offline=False)


def _refuse_options_of_cells(*, shared: bool, intervals: bool, rerun: Sequence[str]) -> None:
    """Raise :class:`~seqsuite.errors.UserError` for options that only a study of cells has a use for."""
    if shared:
        raise UserError("This study has no cells, which alone are shared: leave --from and --export out.")
    if intervals:
        raise UserError("This study has no cells, whose seeds make an interval: leave --interval out.")
    if rerun:
        raise UserError(f"This study has no cells, and is run whole each time: leave {rerun[0]} out.")


def _show(
    name: str,
    study: Study,
    scale: str,
    reader: Reader,
    command: str,
    style: str,
    figure: PictureFile | None,
    intervals: bool,
) -> None:
    """Print what the runs of a study show, and draw it if asked to."""
    results = collect(reader, study=study)
    shown = study_report(name, study, scale, reader, results, command)
    report.write(shown, style, sys.stdout, intervals=intervals)
    if figure is not None:
        from seqsuite.results.studies.pictures import draw_study  # matplotlib, which no table needs

        draw_study(study, reader, results, figure)
        print(f"The picture is in {figure}.", file=sys.stderr)


def _command(study: str, scale: str, settings: Sequence[str], sources: Sequence[Path]) -> str:
    """Return the command that goes on with a study."""
    known = [part for source in sources for part in ("--from", str(source))]
    return shlex.join(["seqsuite", "reproduce", study, "--scale", scale, *settings, *known])


def _tell_shared(console: Console, count: int, elsewhere: int, cells: int, sources: Sequence[Path]) -> None:
    """Say how many of a study's cells were run elsewhere."""
    if sources:
        console.print(f"{count} of {cells} cells are finished in {', '.join(map(str, sources))}.")
        if elsewhere:
            console.print(f"{elsewhere} more were run on other data than is here, and do not count.")
