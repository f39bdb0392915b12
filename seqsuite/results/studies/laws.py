"""Laws that a study's runs follow, as tables: power laws, and the best size at equal compute."""

from collections.abc import Iterator, Sequence

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import CellRun
from seqsuite.report import Column, Section
from seqsuite.report import Row as Cells
from seqsuite.report.format import show
from seqsuite.results.scaling import FEWEST, IsoFlops, PowerLaw, fit_power_law, frontier, iso_flops
from seqsuite.results.studies.lines import MEASURES, Line, lines_of
from seqsuite.results.studies.study import Picture

_LAWS = (
    Column("line", "runs"),
    Column("x", "by"),
    Column("law", "law"),
    Column("exponent", "exponent", "number", 3),
    Column("low", "95 % from", "number", 3),
    Column("high", "to", "number", 3),
    Column("floor", "floor"),
    Column("points", "points", "count", optional=True),
)
_OPTIMA = (
    Column("line", "runs"),
    Column("flops", "training FLOPs", "quantity"),
    Column("optimum", "best size", "quantity"),
    Column("sizes", "sizes", "count"),
    Column("note", "note"),
)


def law_of(line: Line, picture: Picture) -> PowerLaw:
    """Return the power law of a line.

    Raises:
        UserError: if its runs do not carry one; the sentence says why.
    """
    if picture.x == "flops" and len({run.parameters for run in line.runs}) < FEWEST:
        raise UserError(
            f"a power law takes {FEWEST} different sizes, and there are "
            f"{len({run.parameters for run in line.runs})}"
        )
    if picture.fit == "frontier":
        best = frontier(line.runs)
        return fit_power_law(tuple(run.flops for run in best), tuple(run.loss for run in best))
    pairs = [(point.x, value) for point in line.points for value in point.values]
    return fit_power_law(tuple(x for x, _ in pairs), tuple(value for _, value in pairs))


def laws(cells: Sequence[CellRun], pictures: Sequence[Picture]) -> list[Section]:
    """Return a table of the power laws that pictures show, and one of the best sizes at equal operations."""
    fitted, optima = [], []
    for picture in pictures:
        if not picture.fit and picture.kind != "isoflops":
            continue
        try:
            lines = lines_of(cells, picture)
        except UserError:  # such runs are none yet: the picture says so
            continue
        if picture.kind == "isoflops":
            optima += [row for line in lines for row in _optima(line)]
        else:
            fitted += [_fitted(line, picture) for line in lines]
    notes = [
        "L = floor + (the rest), by least squares of log L; intervals by a bootstrap of the residuals. "
        "A floor is taken only where its interval is above half of it and below every loss."
    ]
    of_optima = [
        "The loss at equal operations is interpolated between the runs of a size; the best size is the "
        "lowest point of a parabola in its logarithm."
    ]
    found = [Section("laws", "Fitted power laws", _LAWS, fitted, notes)] if fitted else []
    if optima:
        found.append(Section("isoflops", "The best size at equal operations", _OPTIMA, optima, of_optima))
    return found


def _fitted(line: Line, picture: Picture) -> Cells:
    named = {"line": line.label, "x": MEASURES.get(picture.x, picture.x)}
    try:
        law = law_of(line, picture)
    except UserError as error:
        return named | {"law": f"none: {error}"}
    floor = f"{law.floor:.3f} + " if law.floor else ""
    low, high = law.exponent_interval
    return named | {
        "law": f"L = {floor}{law.scale:.3f} (x / {show(law.at, 'quantity')})^{-law.exponent:.3f}",
        "exponent": law.exponent,
        "low": low,
        "high": high,
        "floor": law.told_of_floor,
        "points": law.points,
    }


def _optima(line: Line) -> Iterator[Cells]:
    try:
        curves = iso_flops(line.runs)
    except UserError as error:
        yield {"line": line.label, "note": f"none: {error}"}
        return
    for curve in curves:
        yield {
            "line": line.label,
            "flops": curve.flops,
            "optimum": curve.optimum,
            "sizes": len(curve.parameters),
            "note": "" if curve.optimum else _without_optimum(curve),
        }


def _without_optimum(curve: IsoFlops) -> str:
    """Return where the best size is, where that is not between those that were trained."""
    falls = curve.losses[-1] < curve.losses[0]
    return "at the largest size or above" if falls else "at the smallest size or below"
