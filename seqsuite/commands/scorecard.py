"""``seqsuite scorecard``: runs what is missing of a model's card, measures its cost, and shows it."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path

import torch
from rich.console import Console

from seqsuite import report
from seqsuite.bench.complexity import measure, parameters_of_bytes
from seqsuite.bench.machine import describe_machine
from seqsuite.commands.console import make_console
from seqsuite.commands.group import EXIT_INTERRUPTED
from seqsuite.commands.plan import check_probe, print_plan
from seqsuite.commands.run import exit_status, print_failures, run_shown
from seqsuite.errors import UserError
from seqsuite.experiments.afresh import begin_anew, marked_folders
from seqsuite.experiments.cell import CellResult
from seqsuite.experiments.config.schema import CellConfig
from seqsuite.experiments.executors.worker import using_threads
from seqsuite.experiments.tracking.export import FileReader, export_runs
from seqsuite.experiments.tracking.reader import JoinedReader, Reader, open_reader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.models import MIXERS
from seqsuite.report.outputs import check_output
from seqsuite.report.pictures import PictureFile, check_picture
from seqsuite.results.scorecard.battery import Battery, Slot, labels, read_battery, slots
from seqsuite.results.scorecard.card import Card, Runs, by_cell, further_seeds, make_card, sweep
from seqsuite.results.scorecard.cost import Cost, ModelCost
from seqsuite.results.scorecard.page import card_page
from seqsuite.results.scorecard.table import card_report
from seqsuite.wording import counted

_LENGTHS = {"smoke": (32, 64), "cpu": (256, 1024, 4096)}
_STEP_LIMIT_S = 3.0
_MACHINE = ("processor", "threads", "PyTorch")
_BYTES = "text"
"""The test whose models are of bytes: these are timed."""


def make_scorecard(
    settings: Sequence[str],
    *,
    scale: str,
    style: str,
    output: Path,
    figure: PictureFile | None,
    dry_run: bool,
    probe: bool,
    force: bool,
    takeover: bool,
    stored: bool,
    sources: Sequence[Path],
    export: Path | None,
    experiment: str,
) -> int:
    """Run what is missing of the cards of models, show that of the last, and return the exit status.

    Args:
        settings: ``key=value`` arguments: the models, and settings of all.
        scale: One of the battery's.
        style: One of :data:`seqsuite.report.FORMATS`.
        output: The page to write.
        figure: Picture to draw.
        dry_run: Whether to show the cells only.
        probe: Whether a dry run takes a few steps of each cell.
        force: Whether to start afresh what is finished or was interrupted of the models asked for.
        takeover: Whether to take cells over from processes that seem to run them.
        stored: Whether runs that come with the package count as finished.
        sources: Files of exported runs, which count as finished, too.
        export: File to write the runs of the models asked for to, those of ``sources`` among them.
        experiment: MLflow experiment.

    Raises:
        UserError: if a setting is wrong, no cell can run, or a file cannot be read or written.
    """
    check_probe(probe, dry_run)
    _check_files(output, figure, export)
    battery = read_battery()
    if experiment != "seqsuite":
        settings = [*settings, f"run.experiment={experiment}"]
    every = slots(battery, scale, settings)
    experiment = every[0].cell.run.experiment
    asked = labels(battery, settings)
    ours = [slot for slot in every if slot.model in asked]
    files = [FileReader(source) for source in sources]
    console = make_console(stderr=style != "table")
    runs = _known(experiment, scale, stored, files)
    if dry_run:
        first = [slot.cell for slot in sweep(ours)] if force else _missing(sweep(ours), runs)
        _show_plan(console, battery, scale, ours, first, probe)
        return 0
    given = [part for source in sources for part in ("--from", str(source))]
    given += [] if stored else ["--fresh"]
    again = shlex.join(["seqsuite", "scorecard", *settings, "--scale", scale, *given])
    if force:  # all at once: after a stop the command without --force goes on with the same
        begin_anew([slot.cell for slot in ours], takeover=takeover)
    results: list[CellResult] = []
    for is_sweep in (True, False):
        cells = _missing(sweep(ours) if is_sweep else further_seeds(ours, runs), runs)
        if cells:
            outcomes = run_shown(console, cells, again, takeover=takeover)
            if outcomes is None:
                return EXIT_INTERRUPTED
            results += outcomes
            if any(outcome.unsent for outcome in outcomes):  # MLflow is not there to be read
                return exit_status(console, results, offline=False)
            runs = _known(experiment, scale, stored, files)
    print_failures(console, results)
    card = make_card(
        battery, scale, every, runs, candidate=asked[-1], about=_about(ours[-1].cell), command=again
    )
    if not card.lines:
        raise UserError("No test of the card has a finished run: `seqsuite runs` shows what became of them.")
    _show(console, card, every, scale, style, output, figure)
    if export is not None:
        _export(ours, [*_store(experiment), *files], export)
    return exit_status(console, results, offline=False)


def _check_files(output: Path, figure: PictureFile | None, export: Path | None) -> None:
    """Complain before any work about a file that cannot be written."""
    if figure is not None:
        check_picture(figure)
    check_output("--output", output)
    check_output("--export", export)


def _stored(scale: str) -> list[CellRun]:
    """Return the runs of built-in models that come with the package; none where there is no such file."""
    found = files("seqsuite.results.scorecard") / f"builtin-{scale}.json"
    if not found.is_file():
        return []
    with as_file(found) as path:
        return FileReader(path).cells()


def _store(experiment: str) -> list[Reader]:
    """Return the reader of an experiment; none where there is no store yet."""
    try:
        return [open_reader(experiment)]
    except UserError:
        return []


def _known(experiment: str, scale: str, stored: bool, files: Sequence[FileReader]) -> Runs:
    """Return the runs of an experiment, of files, and, where ``stored``, of the package."""
    runs = [run for reader in (*_store(experiment), *files) for run in reader.cells()]
    return by_cell([*runs, *(_stored(scale) if stored else [])])


def _missing(wanted: Sequence[Slot], runs: Runs) -> list[CellConfig]:
    """Return the cells without a finished run, and those that are to begin anew."""
    anew = marked_folders({slot.cell.run.output for slot in wanted})

    def is_marked(cell: CellConfig) -> bool:
        return bool(anew) and cell.work_folder(cell.make_task().fingerprint()) in anew

    return [slot.cell for slot in wanted if runs(slot.cell) is None or is_marked(slot.cell)]


def _show_plan(
    console: Console,
    battery: Battery,
    scale: str,
    ours: Sequence[Slot],
    first: Sequence[CellConfig],
    probe: bool,
) -> None:
    """Print the cells of the learning rates, and how many are to follow."""
    if first:
        print_plan(console, first, probe=probe, matched=True)
    pairs = len({(slot.model, slot.test.name) for slot in ours})
    follow = pairs * (battery.seeds[scale] - 1)
    console.print(
        f"{len(sweep(ours)) - len(first)} of {len(sweep(ours))} cells of the learning rates are finished; "
        f"then {follow} more seeds of the best."
    )


def _about(cell: CellConfig) -> str:
    """Return what a model is, in a sentence."""
    model = cell.model
    layers = f"{model.n_layer} {'layer' if model.n_layer == 1 else 'layers'} of width {model.d_model}"
    return f"{MIXERS.summary(model.mixer.name)} In the block {model.block.name!r}, {layers}."


def _show(
    console: Console,
    card: Card,
    every: Sequence[Slot],
    scale: str,
    style: str,
    output: Path,
    figure: PictureFile | None,
) -> None:
    """Measure what models cost, and write the card in all its forms."""
    with console.status("Measuring time and memory by length"), using_threads(every[0].cell.run.threads):
        costs = [_cost(model, every, scale) for model in card.models]
        known = describe_machine("cpu", (torch.get_num_threads(),))
    machine = {key: value for key, value in known.items() if key in _MACHINE}
    report.write(card_report(card, costs, machine), style, sys.stdout)
    try:
        output.write_text(card_page(card, costs, machine), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error.strerror}.") from error
    print(f"The card is in {output}.", file=sys.stderr)
    if figure is not None:
        from seqsuite.results.scorecard.picture import draw_card  # matplotlib, which no table needs

        draw_card(card, figure)
        print(f"The picture is in {figure}.", file=sys.stderr)


def _cost(model: str, every: Sequence[Slot], scale: str) -> ModelCost:
    """Return what a model takes as a language model of bytes, at the width it has there."""
    config = next(slot.cell.model for slot in every if slot.model == model and slot.test.name == _BYTES)
    repeats = 1 if scale == "smoke" else 3
    found = measure(config, _LENGTHS[scale], _STEP_LIMIT_S, repeats)
    return ModelCost(model, parameters_of_bytes(config), [Cost(**asdict(growth)) for growth in found])


def _export(ours: Sequence[Slot], readers: Sequence[Reader], path: Path) -> None:
    """Write the finished runs of the models asked for to a file, as `seqsuite results --export` does.

    Raises:
        UserError: if there are none, all being of the package, or the file cannot be written.
    """
    if not readers:
        raise UserError("--export has no runs to write: all of them came with the package.")
    reader = JoinedReader(readers)
    runs = by_cell(reader.cells())
    found = {run.run_id: run for slot in ours if (run := runs(slot.cell)) is not None}
    count = export_runs(reader, list(found.values()), path)
    print(f"{counted(count, 'run')} in {path}.", file=sys.stderr)
