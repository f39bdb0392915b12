"""``seqsuite list``: what there is to choose from."""

from rich.console import Console
from rich.table import Table

from seqsuite.models import BLOCKS, MIXERS, MODELS
from seqsuite.tasks import TASKS

_SCALES = {
    "smoke": "seconds: does it run?",
    "cpu": "minutes on two cores, and still shows the finding (the default)",
    "paper": "the exact protocol",
}


def show_names() -> None:
    """Print every task, model, block, mixer and scale with one line."""
    console = Console(highlight=False)
    for registry in (TASKS, MODELS, BLOCKS, MIXERS):
        names = {name: registry.summary(name).rstrip(".") for name in registry.names()}
        _print(console, f"{registry.kind}s", names)
    _print(console, "scales", _SCALES)


def _print(console: Console, title: str, lines: dict[str, str]) -> None:
    table = Table(show_header=False, box=None, title=title, title_justify="left", pad_edge=False)
    table.add_column(min_width=18)
    for name, summary in lines.items():
        table.add_row(name, summary)
    console.print(table)
    console.print()
