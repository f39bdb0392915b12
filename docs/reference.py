"""Writes the pages that are generated from code: commands, tasks, models and studies, and ``docs/keys.md``.

Run as a script, by ``make tables``, it writes the page of keys, which is under version control: there a
default, a bound or a meaning that has changed is seen.
"""

import inspect
from collections.abc import Iterable
from pathlib import Path

import click

from seqsuite.cli import main
from seqsuite.experiments.config.keys import Key, list_keys
from seqsuite.experiments.config.scales import SCALES
from seqsuite.models import MODELS
from seqsuite.results.studies import Study, load_studies
from seqsuite.tasks import TASKS

RESULTS = Path(__file__).parent / "results"


def write_reference(folder: Path) -> None:
    """Write all generated pages into ``folder``, and leave alone those that have not changed."""
    keys = list_keys()
    pages = {
        "cli": cli_page(),
        "tasks": index("Each task", "tasks", TASKS.names()),
        "models": index("Each model", "models", MODELS.names()),
        "studies": index("Each study", "studies", sorted(load_studies()[0])),
        **{f"tasks/{name}": task_page(name, keys) for name in TASKS.names()},
        **{f"models/{name}": model_page(name) for name in MODELS.names()},
        **{f"studies/{name}": study_page(name, study) for name, study in load_studies()[0].items()},
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def index(title: str, folder: str, names: Iterable[str]) -> str:
    """Return a page that lists others."""
    entries = "\n".join(f"{folder}/{name}" for name in names)
    return f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"


def cli_page() -> str:
    """Return every command's help, as the terminal shows it."""
    parts = ["# Commands"]
    for name, command in _commands(main, "seqsuite"):
        with click.Context(command, info_name=name, max_content_width=100) as context:
            parts.append(f"## `{name}`\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, name: str) -> Iterable[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from _commands(found, f"{name} {child}")


def keys_page() -> str:
    """Return all that can be set: first whatever the task and the model, then what each task or part adds."""
    about = (
        "What `seqsuite run KEY=VALUE` takes; `seqsuite keys [PREFIX]` lists the same. Presets set other "
        "defaults: `seqsuite run task=NAME --print-config` shows a cell's. `make tables` writes this page."
    )
    keys = list_keys()
    parts = [f"# Keys\n\n{about}\n\n{_table(key for key in keys if not key.of)}"]
    for of in sorted({(key.name.rpartition(".")[0], key.of) for key in keys if key.of}):
        ours = [key for key in keys if (key.name.rpartition(".")[0], key.of) == of]
        parts.append(f"## `{of[0]}={of[1]}`\n\n{_table(ours)}")
    return "\n".join(parts)


def _table(keys: Iterable[Key]) -> str:
    rows = [
        f"| `{key.name}` | {_cell(key.type)} | {_cell(key.default)} | {_cell(key.description)} |"
        for key in keys
    ]
    return "\n".join(["| key | takes | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def task_page(name: str, keys: Iterable[Key]) -> str:
    """Return what a task is, its options and how to run it."""
    options = [key for key in keys if key.of.split() and name in key.of.replace(",", " ").split()]
    options = [key for key in options if key.name.startswith("task.")]
    parts = [f"# {name}", _prose(TASKS.load(name))]
    parts.append(
        "```sh\n" + "\n".join(f"seqsuite run task={name} scale={scale}" for scale in SCALES) + "\n```"
    )
    if options:
        parts.append(f"## Options\n\n{_table(options)}")
    return "\n\n".join(parts) + "\n"


def model_page(name: str) -> str:
    """Return what a named model is made of."""
    preset = MODELS.load(name)
    return f"# {name}\n\n{_prose(preset)}\n\n```sh\nseqsuite run task=text model={name} --print-config\n```\n"


def study_page(name: str, study: Study) -> str:
    """Return what a study asks, the commands that run it, the published numbers, and where ours are."""
    parts = [f"# {name}: {study.title}", f"*{study.source}*", study.question, study.finding]
    commands = [
        f"seqsuite reproduce {name} --scale {scale}"
        for scale in (*study.grids, *study.benches, *study.zero_shot)
    ]
    parts += ["\n".join(["```sh", *commands, "```"])] if commands else []
    for published in study.published:
        settings = [*published.settings]
        head = [*(f"`{key}`" for key in settings), *published.metrics]
        rows = ["| " + " | ".join(map(str, row)) + " |" for row in published.rows]
        note = " (secondary transcription)" if published.secondary else ""
        lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows]
        parts.append(f"Published{note}, `task={published.task}`. {published.protocol}\n\n" + "\n".join(lines))
    if (RESULTS / f"{name}.md").exists():
        parts.append(f"[What we found](../../results/{name}.md) at the budgets that were run.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _prose(value: object) -> str:
    """Return the beginning of a docstring, before its arguments, as Markdown."""
    text = inspect.getdoc(value) or ""
    before = text.partition("\nArgs:")[0].partition("\nAttributes:")[0]
    return before.replace("``", "`").strip()


if __name__ == "__main__":
    (Path(__file__).parent / "keys.md").write_text(keys_page(), encoding="utf-8")
