"""A card as a report: its scores and differences, what models cost, and what was run."""

from collections.abc import Sequence

from seqsuite.experiments.tracking import schema
from seqsuite.report import Column, Report, Section
from seqsuite.report import Row as Cells
from seqsuite.results.scorecard.card import Card, Line, verdict
from seqsuite.results.scorecard.cost import ModelCost
from seqsuite.results.scores import score_of
from seqsuite.results.table import SMOKE

_PAIRED = "Differences are paired by seed, intervals by bootstrap: 95 %."
_DECODING = (
    "On a CPU stacks of Mamba or Mamba-2 blocks are decoded by one compiled kernel, all others by calls of "
    "PyTorch."
)


def card_report(card: Card, costs: Sequence[ModelCost], machine: dict[str, str]) -> Report:
    """Return a card as a report.

    Args:
        card: The card.
        costs: What its models cost.
        machine: Where that was measured.
    """
    sections = [_scores(card), *([_costs(costs, machine)] if costs else [])]
    return Report(card.command, {}, sections, [*card.problems, *_notes(card)])


def _notes(card: Card) -> list[str]:
    rates = " or ".join(f"{rate:g}" for rate in card.rates)
    notes = [
        f"Each model has in each test the learning rate, {rates}, with which its first seed was the better "
        f"on validation data, and {card.seeds_told}."
    ]
    return [*notes, *([SMOKE] if card.scale == "smoke" else [])]


def _scores(card: Card) -> Section:
    keys = {model: f"model_{place}" for place, model in enumerate(card.models)}
    columns = [Column("test", "test"), Column("metric", "metric")]
    columns += [Column(key, model, "number") for model, key in keys.items()]
    if card.candidate != card.reference and card.reference in card.models:
        columns += [Column("verdict", f"{card.candidate} and {card.reference}")]
    return Section(
        kind="scorecard",
        title=f"{card.candidate}: scorecard at scale={card.scale}",
        columns=tuple(columns),
        rows=[_score_cells(card, line, keys) for line in card.lines],
        notes=[_PAIRED] if len(card.models) > 1 else [],
        about={"scale": card.scale, "candidate": card.candidate, "reference": card.reference},
    )


def differences(card: Card) -> Section:
    """Return by how much each model is ahead of the reference in each test, or that nothing shows it."""
    others = [model for model in card.models if model != card.reference]
    rows: list[Cells] = [
        {"test": line.test.title}
        | {score.model: verdict(score, card.reference, line.metric) for score in line.scores}
        for line in card.lines
    ]
    return Section(
        kind="differences",
        title=f"Beside {card.reference}, with intervals",
        columns=(Column("test", "test"), *(Column(model, model) for model in others)),
        rows=rows,
        notes=[_PAIRED],
    )


def _score_cells(card: Card, line: Line, keys: dict[str, str]) -> Cells:
    cells: Cells = {
        "test": line.test.title,
        "name": line.test.name,
        "metric": line.metric.label,
        "questions": line.questions,
        "chance": line.chance,
    }
    for score in line.scores:
        values = list(score.values.values())
        spread, mean = score_of(values).spread, line.metric.show(score.mean)
        key = keys[score.model]
        cells |= {
            key: mean if spread is None else f"{mean} ± {line.metric.show(spread)}",
            f"{key}_mean": score.mean,
            f"{key}_values": values,
            f"{key}_rate": score.rate,
            f"{key}_runs": [run.run_id for run in score.runs],
        }
        if score.model == card.candidate:
            cells["verdict"] = verdict(score, card.reference, line.metric)
    return cells


def _costs(costs: Sequence[ModelCost], machine: dict[str, str]) -> Section:
    columns = (
        Column("model", "model"),
        Column("parameters", "params", "quantity"),
        Column("seqlen", "L", "count"),
        Column("train_tokens", "train tok/s", "quantity"),
        Column("train_bytes", "train memory", "bytes"),
        Column("decode_tokens", "decode tok/s", "quantity"),
        Column("state_bytes", "state", "bytes"),
    )
    rows: list[Cells] = [
        {
            "model": cost.model,
            "parameters": cost.parameters,
            "seqlen": at.seqlen,
            "train_tokens": at.seqlen / at.train_seconds,
            "train_bytes": at.train_bytes,
            "decode_tokens": 1 / at.decode_seconds,
            "state_bytes": at.state_bytes,
        }
        for cost in costs
        for at in cost.by_length
    ]
    told = "; ".join(f"{key}: {value}" for key, value in machine.items())
    note = f"Single sequences of bytes, in training and after L of them. {_DECODING} {told}".strip()
    return Section("cost", "Cost by length", columns, rows, [note])


def run_rows(card: Card) -> list[Cells]:
    """Return a line for each run on the card: test, model, learning rate, seed, id, name and time."""
    return [
        {
            "test": line.test.title,
            "model": score.model,
            "rate": f"{score.rate:g}",
            "seed": seed,
            "score": line.metric.show(score.values[seed]),
            "run": run.run_id,
            "name": run.name,
            "seconds": run.metrics.get(schema.TRAIN_SECONDS),
        }
        for line in card.lines
        for score in line.scores
        for seed, run in zip(score.values, score.runs, strict=True)
    ]
