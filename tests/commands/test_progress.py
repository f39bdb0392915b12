"""What is shown of training, in terminals of any width and elsewhere."""

import io
import logging
from collections.abc import Callable

import pytest
from click.testing import Result
from rich.console import Console

from seqsuite.commands.plan import tell_busy
from seqsuite.commands.progress import GridProgress, ProgressDisplay, count, metric_text
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.report.format import duration

CELLS = resolve_grid(
    expand_grid(["task=selective_copying", "model=transformer", "train.steps=5000", "seed=0..2"])
)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_bar_the_step_and_the_time_are_there_at_any_width(width: int) -> None:
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, width=width, color_system=None, highlight=False)
    with ProgressDisplay(console, CELLS[0], 0, "[2/3] ") as display:
        display.evaluated(1000, {"loss": 1.0, "accuracy": 97.25})
        display.stepped(2500, 1.2345, 123456.0)
    (*_, line) = (part for part in buffer.getvalue().replace("\r", "\n").splitlines() if "2500/5000" in part)
    assert "━" in line
    assert "-:--:--" in line or ":" in line.split("2500/5000")[1]
    assert len(line.split("\x1b")[0].rstrip()) <= width
    assert ("loss 1.234" in line) == (width >= 80)
    assert ("accuracy 97.25 %" in line) == (width >= 120)
    assert ("tok/s" in line) == (width >= 120)


def test_elsewhere_lines_are_whole_and_labelled() -> None:
    buffer = io.StringIO()
    with ProgressDisplay(Console(file=buffer, width=30, markup=False), CELLS[0], 10, "[1/3] ") as display:
        display.stepped(50, 1.0, 1.0)
        display.evaluated(50, {"loss": 1.23456, "bits_per_token": 1.78111, "accuracy": 45.678})
    title = "[1/3] selective_copying-transformer-cpu-seed0"
    assert buffer.getvalue().splitlines() == [
        f"{title}, resumed at step 10",
        f"{title}: step 50/5000: validation loss 1.235, 1.781 bits per token, accuracy 45.68 %",
    ]


def test_a_grid_says_where_it_is_and_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = GridProgress(CELLS)
    assert [progress.place(cell) for cell in CELLS] == ["[1/3] ", "[2/3] ", "[3/3] "]
    assert progress.remaining() == ""
    progress.done(CELLS[0], trained=False)
    assert progress.remaining() == ""
    now = 600.0
    progress.done(CELLS[1], trained=True)
    assert progress.remaining() == "about 10 min for the 1 cell left"
    progress.done(CELLS[2], trained=True)
    assert progress.remaining() == ""
    assert GridProgress(CELLS[:1]).place(CELLS[0]) == ""


def test_words() -> None:
    assert [duration(seconds) for seconds in (5, 120, 7200)] == ["5 s", "2 min", "2.0 h"]
    assert [count(number, "cell") for number in (1, 2, 1200)] == ["1 cell", "2 cells", "1,200 cells"]
    assert metric_text("bits_per_base", 1.98765) == "1.988 bits per base"


@pytest.mark.parametrize(
    ("load", "threads", "at_a_terminal", "told"),
    [(7.0, None, True, True), (1.0, None, True, False), (7.0, 1, True, False), (7.0, None, False, False)],
)
def test_a_busy_machine_is_told(
    monkeypatch: pytest.MonkeyPatch, load: float, threads: int | None, at_a_terminal: bool, told: bool
) -> None:
    monkeypatch.setattr("seqsuite.commands.plan.usable_cores", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    buffer = io.StringIO()
    console = Console(file=buffer, width=200, force_terminal=at_a_terminal, color_system=None)
    run = CELLS[0].run.model_copy(update={"threads": threads})
    tell_busy(console, [cell.model_copy(update={"run": run}) for cell in CELLS])
    assert ("The machine is busy (7.0 processes at work on 2" in buffer.getvalue()) == told


@pytest.mark.parametrize(("n_layer", "told"), [("3", 1), ("4", 0), ("4,3,2", 1)])
def test_a_mixture_that_is_none_is_told(seqsuite: Callable[..., Result], n_layer: str, told: int) -> None:
    settings = ["task=selective_copying", "model=mamba,hybrid", f"model.n_layer={n_layer}"]
    shown = seqsuite("run", *settings, "--dry-run").output
    assert shown.count("The model 'hybrid' has no layer of attention here") == told
    assert "'mamba'" not in shown


def test_a_run_tells_its_place_its_test_and_where_to_look(seqsuite: Callable[..., Result]) -> None:
    settings = ["scale=smoke", "train.steps=4", "train.eval_every=2", "model.d_model=8,16"]
    made = seqsuite("run", "task=selective_copying", *settings, "run.experiment=told by us")
    assert made.exit_code == 0, made.output
    lines = made.output.splitlines()
    title = "selective_copying-mamba[d_model=8]-smoke-seed0"
    assert lines[0] == f"[1/2] {title}"
    (tested,) = (line for line in lines if line.startswith(f"[1/2] {title}: test accuracy"))
    assert "of 4, the best on validation; trained for" in tested
    assert any(line.endswith("for the 1 cell left") for line in lines)
    assert all(line == line.rstrip() for line in lines)
    assert "seqsuite results --experiment 'told by us'" in made.output
    assert "seqsuite generate" not in made.output


def test_a_notice_is_shown_once(seqsuite: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def notify(cells: object, **options: object) -> None:
        for _ in range(3):
            logging.getLogger("seqsuite.tasks").info("rendering %s", "[pieces]")
        raise KeyboardInterrupt

    monkeypatch.setattr("seqsuite.commands.run.run_cells", notify)
    made = seqsuite("run", "task=selective_copying")
    assert made.output.count("rendering [pieces]") == 1


@pytest.mark.parametrize("width", ["60", "400"])
def test_a_dry_run_never_breaks_names(
    seqsuite: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setattr("seqsuite.commands.console.UNBOUNDED", int(width))
    shown = seqsuite("run", "task=selective_copying", "model.mixer=s4d,s6", "model=mamba", "--dry-run").output
    for mixer in ("s4d", "s6"):
        assert f"selective_copying-mamba[mixer={mixer}]-cpu-seed0" in shown
    assert "2 cells; nothing is run" in shown
    assert "about" in shown
    alone = seqsuite("run", "task=selective_copying", "--dry-run").output
    assert "1 cell; nothing is run" in alone
