"""What the benchmarks of whole models share: models are built and checked before they are timed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from seqsuite.bench.machine import describe_machine
from seqsuite.bench.model_peers import (
    MODEL_PEERS,
    TOLERANCES,
    Model,
    ModelPeer,
    check_model,
    loss,
    random_tokens,
)
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
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run, Times, expected_time, interleave, warm_up
from seqsuite.report import Column, Report, Row, Section

MakeRun = Callable[[Model, int], Run]
"""Makes a call that does what is timed, from a model and a number of tokens."""


@dataclass
class ModelBench:
    """The models of one kind of benchmark.

    Attributes:
        settings: what to do.
        say: shows progress.
        peers: whose models.
        ours_of: for each peer the one that its time is compared with; all with ours if ``None``.
        checks: what was found so far.
        built: the models that were found correct, by width.
    """

    settings: Settings
    say: Say
    peers: list[ModelPeer] = field(default_factory=lambda: list(MODEL_PEERS))
    ours_of: Mapping[str, str] | None = None
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
        models = {}
        for peer in self.peers:
            self.say(f"d_model {d_model}: checking {peer.name}")
            row: Row = {"peer": peer.name, "computes": peer.description, "d_model": d_model}
            row["found"] = peer.unavailable_because() or ""
            if not row["found"]:
                try:
                    model = peer.build(d_model)
                    model.module.to(self.settings.device)
                    errors = check_model(model, self.settings.device)
                except Exception as error:  # a peer that fails is a finding, whatever its reason
                    if peer.name == OURS:
                        raise
                    row["found"] = f"not timed: {type(error).__name__}: {first_line(error)}"
                else:
                    models[peer.name] = model
                    row["found"] = "correct" if errors else "its steps give what its whole gives"
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

    def report(self, sections: list[Section]) -> Report:
        """Return what was checked and ``sections``, with the machine."""
        settings = self.settings
        machine = describe_machine(settings.device, settings.threads)
        return Report(settings.command, machine, [self.check_section(), *sections])

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
        rows = time_rows({name: found[name] for name in models}, ours_of=self.ours_of)
        for row in rows:
            row["parameters"] = models[row["peer"]].parameters
            if "median_s" in row:
                row["tokens_per_second"] = tokens / row["median_s"]
        columns = (
            *TIME_COLUMNS,
            Column("tokens_per_second", "tokens/s", "quantity"),
            Column("parameters", "parameters", "count"),
            NOTE,
        )
        return columns, rows

    def train_step(self, model: Model, batch: int, seqlen: int) -> Run:
        """Return a call that takes one step of AdamW on random tokens (B, L)."""
        tokens = random_tokens(batch, seqlen + 1, self.settings.device)
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-3)

        def run() -> None:
            model.module.train()
            optimizer.zero_grad(set_to_none=True)
            loss(model.logits(inputs), targets).backward()  # type: ignore[no-untyped-call]  # untyped in PyTorch
            optimizer.step()

        return run

    def token_step(self, model: Model) -> Run:
        """Return a call that treats one more token, of a single sequence."""
        token = random_tokens(1, 1, self.settings.device)[:, 0]
        model.module.eval()
        step = model.start(1)

        def run() -> None:
            with torch.inference_mode():
                step(token)

        return run

    def _expected_time(self, model: Model, make_run: MakeRun, seqlen: int) -> float:
        def time_at(shorter: int) -> float:
            return warm_up(make_run(model, shorter), self.settings.device)

        return expected_time(time_at, seqlen, self.settings.limit_s)
