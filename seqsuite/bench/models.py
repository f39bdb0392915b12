"""What ``bench block`` and ``bench decode`` share: whole models, built and checked before they are timed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from seqsuite.bench.model_peers import MODEL_PEERS, TOLERANCES, Model, ModelPeer, check_model, our_mamba
from seqsuite.bench.operations import (
    NOTE,
    TIME_COLUMNS,
    Say,
    choose,
    first_line,
    require,
    time_rows,
    too_long,
)
from seqsuite.bench.peers import OURS
from seqsuite.bench.report import Column, Row, Section
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run, Times, expected_time, interleave, warm_up

MakeRun = Callable[[Model, int], Run]
"""Makes a call that does what is timed, from a model and a number of tokens."""


@dataclass
class ModelBench:
    """The models of one kind of benchmark.

    Attributes:
        settings: what to do.
        say: shows progress.
        peers: whose models.
        checks: what was found so far.
        built: the models that were found correct, by width.
    """

    settings: Settings
    say: Say
    peers: list[ModelPeer] = field(default_factory=lambda: list(MODEL_PEERS))
    checks: list[Row] = field(default_factory=list)
    built: dict[int, dict[str, Model]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen = choose(self.settings.peers, [peer.name for peer in self.peers])
        self.peers = [peer for peer in self.peers if peer.name in chosen]
        for peer in self.peers:
            require(self.settings.peers, peer.name, peer.unavailable_because())

    def models(self, d_model: int) -> dict[str, Model]:
        """Build and check every model at one width, once; those that cannot run or are wrong are left out."""
        if d_model not in self.built:
            self.built[d_model] = self._build(d_model)
        return self.built[d_model]

    def _build(self, d_model: int) -> dict[str, Model]:
        ours = our_mamba(d_model)
        models = {}
        for peer in self.peers:
            self.say(f"d_model {d_model}: checking {peer.name}")
            row: Row = {"peer": peer.name, "computes": peer.description, "d_model": d_model}
            row["found"] = peer.unavailable_because() or ""
            if not row["found"]:
                try:
                    model = peer.build(ours, d_model)
                    model.module.to(self.settings.device)
                    errors = check_model(model, ours, self.settings.device)
                except Exception as error:  # a peer that fails is a finding, whatever its reason
                    if peer.name == OURS:
                        raise
                    row["found"] = f"not timed: {type(error).__name__}: {first_line(error)}"
                else:
                    models[peer.name] = model
                    row["found"] = (
                        "correct" if errors else "another model; its steps give what its whole gives"
                    )
                    if errors:
                        row |= {"forward_error": errors.forward, "gradient_error": errors.gradients}
            self.checks.append(row)
        return models

    def check_section(self) -> Section:
        """Return the table of what was checked."""
        columns = (
            Column("peer", "peer"),
            Column("computes", "what"),
            Column("d_model", "d_model", "count"),
            Column("forward_error", "logits", "error"),
            Column("gradient_error", "worst gradient", "error"),
            Column("found", "found"),
        )
        limits = " and ".join(f"{limit:.0e}" for limit in TOLERANCES)
        note = (
            "With the same weights: relative errors in norm against ours in float64, of the logits (whole "
            "and step by step) and of every weight's gradient; a peer is timed if they are below "
            f"{limits}."
        )
        return Section("check", "Checked before timed", columns, self.checks, [note])

    def time(
        self, models: dict[str, Model], make_run: MakeRun, tokens: int, seqlen: int | None
    ) -> tuple[tuple[Column, ...], list[Row]]:
        """Time ``make_run(model, seqlen)`` for every model; one that would take too long is left out.

        Args:
            models: the models by name.
            make_run: makes what is timed.
            tokens: how many tokens a call treats.
            seqlen: length of the sequences, shorter ones being tried first; ``None`` for single steps.

        Returns:
            Columns and rows, with tokens a second and the number of parameters.
        """
        settings = self.settings
        found: dict[str, Times | str] = {}
        cases: dict[str, Run] = {}
        estimates: dict[str, float] = {}
        for name, model in models.items():
            self.say(f"{name}: {model.parameters} parameters")
            if seqlen is not None and name != OURS:
                expected = self._expected_time(model, make_run, seqlen)
                if expected > settings.limit_s:
                    found[name] = too_long(expected, settings.limit_s)
                    continue
            cases[name] = make_run(model, seqlen or 1)
            estimates[name] = warm_up(cases[name], settings.device)
        self.say(f"{len(cases)} models in turn")
        found |= interleave(cases, estimates, settings.repeats, settings.budget_s, settings.device)
        rows = time_rows({name: found[name] for name in models})
        for row in rows:
            row["parameters"] = models[row["peer"]].parameters
            if "median_s" in row:
                row["tokens_per_second"] = tokens / row["median_s"]
        columns = (
            *TIME_COLUMNS,
            Column("tokens_per_second", "tokens/s", "rate"),
            Column("parameters", "parameters", "count"),
            NOTE,
        )
        return columns, rows

    def _expected_time(self, model: Model, make_run: MakeRun, seqlen: int) -> float:
        def time_at(shorter: int) -> float:
            return warm_up(make_run(model, shorter), self.settings.device)

        return expected_time(time_at, seqlen, self.settings.limit_s)
