"""A card as one self-contained HTML page, which needs no script and reads in black and white."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from seqsuite.report import Column, Section
from seqsuite.report.format import show
from seqsuite.report.markup import html_section
from seqsuite.report.pictures import Look
from seqsuite.results.looks import looks
from seqsuite.results.scorecard.card import Card, Line, Score, verdict
from seqsuite.results.scorecard.cost import Cost, ModelCost
from seqsuite.results.scorecard.plot import loglog_plot, mark
from seqsuite.results.scorecard.table import card_report, run_rows
from seqsuite.results.table import SMOKE
from seqsuite.wording import counted

_PLOTS: tuple[tuple[str, str, Callable[[Cost], float | None]], ...] = (
    ("Train step", "seconds", lambda cost: cost.train_seconds),
    ("Memory of training", "bytes", lambda cost: cost.train_bytes),
    ("One token after L", "seconds", lambda cost: cost.decode_seconds),
    ("State after L", "bytes", lambda cost: cost.state_bytes),
)


def card_page(card: Card, costs: Sequence[ModelCost], machine: dict[str, str]) -> str:
    """Return the page.

    Args:
        card: The card.
        costs: What its models cost.
        machine: Where that was measured.
    """
    folder = files("seqsuite.results.scorecard")
    models = list(dict.fromkeys([*card.models, *(cost.model for cost in costs)]))
    seen = dict(zip(models, looks(models), strict=True))
    body = [_head(card, costs)]
    body.append(f'<div class="tests">{"".join(_test(card, line, seen) for line in card.lines)}</div>')
    if costs:
        body.append(f"<h2>cost</h2>{_costs(card, costs, machine, seen)}")
    body.append(_details(card, costs, machine))
    page = Template((folder / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(f"Scorecard: {card.candidate}"),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        body="\n".join(body),
    )


def _head(card: Card, costs: Sequence[ModelCost]) -> str:
    """Return what it is about: the layer in a sentence, and with what budget."""
    facts = {
        "compared with": card.reference if _is_compared(card) else "–",
        "scale": card.scale,
        "runs of a test": card.seeds_told,
        "learning rates tried": ", ".join(f"{rate:g}" for rate in card.rates),
        "training of these runs": show(card.seconds, "seconds"),
        "last run": _date(card),
    }
    for cost in costs:
        if cost.model == card.candidate and cost.by_length:
            last = cost.by_length[-1]
            facts["parameters, as a model of bytes"] = show(cost.parameters, "quantity")
            facts[f"state after {last.seqlen} bytes"] = show(last.state_bytes, "bytes")
    listed = "".join(
        f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items()
    )
    return (
        f"<h1>{escape(card.candidate)}</h1><p>{escape(card.about)}</p>"
        + (f'<p class="label">{escape(SMOKE)}</p>' if card.scale == "smoke" else "")
        + f'<dl class="facts">{listed}</dl><pre>{escape(card.command)}</pre>'
        + "".join(f'<p class="soft">{escape(text)}</p>' for text in (*card.problems, _legend(card)))
    )


def _legend(card: Card) -> str:
    """Return what is drawn."""
    return (
        f"Filled: {card.candidate}; hollow: other models; bars: 95 % interval of the mean over seeds; "
        "dotted: what chance or a trivial predictor reaches."
    )


def _is_compared(card: Card) -> bool:
    return card.reference != card.candidate and card.reference in card.models


def _date(card: Card) -> str:
    """Return the day of the newest run: the same runs make the same page."""
    newest = max((run.start_time for run in card.runs), default=0.0)
    return time.strftime("%Y-%m-%d", time.gmtime(newest))


def _test(card: Card, line: Line, seen: Mapping[str, Look]) -> str:
    worst, best = line.ends
    trivial = "chance" if line.test.perfect is not None else "trivial predictor"
    left = f"{line.metric.show(worst)}{f' {trivial}' if line.chance == worst else ''}"
    right = f"{line.metric.show(best)}{' perfect' if best == line.test.perfect else ''}"
    told = [line.metric.label]
    if line.questions:
        told.append(f"{line.questions.replace(' x ', ' sequences of ')} tokens")
    if line.chance is not None and line.chance != worst:
        told.append(f"{trivial} {line.metric.show(line.chance)}")
    candidate = next((score for score in line.scores if score.model == card.candidate), None)
    sentence = verdict(candidate, card.reference, line.metric) if candidate else ""
    return (
        f'<section class="test" id="{escape(line.test.name)}"><p class="group">{escape(line.test.group)}</p>'
        f"<h3>{escape(line.test.title)}</h3>"
        f'<p class="soft">{escape(line.test.about)}; {escape(", ".join(told))}</p>'
        f'<div class="lanes">{"".join(_lane(card, line, score, seen) for score in line.scores)}</div>'
        f'<p class="ends"><span><span>{escape(left)}</span><span>{escape(right)}</span></span></p>'
        + (f'<p class="verdict">{escape(sentence)}</p>' if sentence else "")
        + "</section>"
    )


def _lane(card: Card, line: Line, score: Score, seen: Mapping[str, Look]) -> str:
    """Return a model's line: its mark on the scale, and its interval."""
    ours = score.model == card.candidate
    mean = line.metric.show(score.mean)
    marks = ""
    if line.chance is not None:
        marks = f'<span class="chance" style="left:{100 * line.place(line.chance):.2f}%"></span>'
    if math.isfinite(score.mean):
        low, high = sorted((line.place(score.low), line.place(score.high)))
        marks += (
            f'<span class="bar" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></span>'
            f'<svg class="mark" viewBox="-6 -6 12 12" style="left:{100 * line.place(score.mean):.2f}%">'
            f"{mark(seen[score.model], 0, 0, strong=ours)}</svg>"
        )
    title = f"{counted(len(score.values), 'seed')}, 95 % interval {line.metric.show(score.low)} to "
    title += f"{line.metric.show(score.high)}, learning rate {score.rate:g}, {score.parameters:,} parameters"
    return (
        f'<div class="lane{" candidate" if ours else ""}" title="{escape(title)}">'
        f'<span class="name">{escape(score.model)}</span>'
        f'<span class="track" aria-hidden="true">{marks}</span>'
        f'<span class="value">{mean}</span></div>'
    )


def _costs(card: Card, costs: Sequence[ModelCost], machine: dict[str, str], seen: Mapping[str, Look]) -> str:
    plots = "".join(
        loglog_plot(
            title,
            unit,
            {
                cost.model: [
                    (at.seqlen, float(value)) for at in cost.by_length if (value := read(at)) is not None
                ]
                for cost in costs
            },
            seen,
            strong=card.candidate,
        )
        for title, unit, read in _PLOTS
    )
    told = "; ".join(f"{key}: {value}" for key, value in machine.items())
    return (
        f'<div class="plots">{plots}</div><p class="soft">Against the length L, both by logarithms. '
        f"{escape(told)}</p>"
    )


def _details(card: Card, costs: Sequence[ModelCost], machine: dict[str, str]) -> str:
    """Return the full tables and every run, which are not printed."""
    sections = card_report(card, costs, machine).sections
    columns = (
        Column("test", "test"),
        Column("model", "model"),
        Column("rate", "learning rate"),
        Column("seed", "seed", "count"),
        Column("score", "score"),
        Column("seconds", "training", "seconds"),
        Column("name", "run"),
        Column("run", "id"),
    )
    note = "`seqsuite runs show ID` has a run's settings; those of built-in models come with the package."
    runs = Section("runs", "Runs", columns, run_rows(card), [note])
    tables = "".join(f'<div class="wide">{html_section(section, 3)}</div>' for section in [*sections, runs])
    return f"<details><summary>All numbers, and every run</summary>{tables}</details>"
