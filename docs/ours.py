"""What of each study was run: tables and figures of the runs exported to `docs/results`."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.export import FileReader
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report.markup import markdown
from seqsuite.results.collect import collect
from seqsuite.results.figures import comparison
from seqsuite.results.studies import Study
from seqsuite.results.studies.outcome import study_report
from seqsuite.results.studies.plan import StudyReader, standing, study_cells

EXPORTS = Path(__file__).parent / "results"


def our_results(name: str, study: Study, folder: Path) -> Iterator[str]:
    """Yield a part of a page for each scale of a study that was run, and write its figure into ``folder``."""
    for export in sorted(EXPORTS.glob("*.json")):
        reader = FileReader(export)
        for scale in study.grids:
            try:
                cells = study_cells(name, study, scale)
            except UserError:  # a task that is not installed here
                continue
            stands = standing(cells, reader.cells())
            if not stands.finished:
                continue
            of_study = StudyReader(reader, cells)
            results = collect(of_study)
            command = f"seqsuite reproduce {name} --scale {scale}"
            tables = markdown(study_report(name, study, scale, of_study, results, command))
            picture = f"{name}-{scale}.svg"
            folder.mkdir(parents=True, exist_ok=True)
            with matplotlib.rc_context({"svg.hashsalt": "seqsuite", "svg.fonttype": "path"}):
                comparison(of_study, results).savefig(folder / picture, metadata={"Date": None})
            yield (
                f"## Ours, scale={scale}\n\n`{command}`: {stands.finished} of {stands.cells} cells, "
                f"{stands.seconds / 3600:.1f} hours of training on {_hardware(of_study.cells())} "
                f"(`docs/results/{export.name}`).\n\n"
                f"![How each model learned, and what it reached]({picture})\n\n{tables}"
            )


def _hardware(runs: list[CellRun]) -> str:
    """Return what the runs were trained by."""
    return "; ".join(
        sorted({run.tags.get(schema.TAG_HARDWARE, "hardware that was not recorded") for run in runs})
    )
