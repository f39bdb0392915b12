"""``seqsuite list``: what there is to choose from."""

from typing import Any

from rich.console import Console
from rich.table import Table

from seqsuite.commands.console import make_console, show
from seqsuite.errors import UserError
from seqsuite.experiments.config.scales import PRESETS, preset, scales_of
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.registry import Registry, did_you_mean
from seqsuite.tasks import TASKS

_SCALES = {
    "smoke": "seconds: does it run?",
    "cpu": "minutes on two cores (the default)",
    "gpu": "one GPU; not timed yet",
    "paper": "the published protocol, as far as there is one",
}


def show_names() -> None:
    """Print every task, model, block, mixer, backbone and scale with one line."""
    console = make_console()
    for registry in (TASKS, MODELS, BLOCKS, MIXERS, BACKBONES):
        _print(console, f"{registry.kind}s", {name: _summary(registry, name) for name in registry.names()})
    names = dict.fromkeys([*TASKS.names(), *PRESETS.names()])
    presets = {name: _preset_summary(name) for name in names}
    _print(console, "presets", {name: summary for name, summary in presets.items() if summary})
    _print(console, "scales of each preset", _SCALES)


def _summary(registry: Registry[Any], name: str) -> str:
    """Return the one line, or why a plug-in has none."""
    try:
        return registry.summary(name).rstrip(".")
    except UserError as error:
        return str(error)


def _preset_summary(task: str) -> str:
    """Return what a task's preset says of itself, if it has one, or why a plug-in's cannot be used."""
    try:
        found, scales = preset(task), scales_of(task)
    except UserError as error:
        return str(error)
    if not found:
        return ""
    if task not in TASKS.names():
        return f"Of no task: none is called {task!r}.{did_you_mean(task, TASKS.names())}"
    summary = str(found.get("summary", "No summary")).rstrip(".")
    return summary if len(scales) == len(_SCALES) else f"{summary} (scale={','.join(scales) or 'none'})"


def _print(console: Console, title: str, lines: dict[str, str]) -> None:
    table = Table(show_header=False, box=None, title=title, title_justify="left", pad_edge=False)
    table.add_column(min_width=18)
    for name, summary in lines.items():
        table.add_row(name, summary)
    show(console, table)
    console.print()
