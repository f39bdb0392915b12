"""Writes the pages that are generated from code: commands, tasks, models and studies, and ``docs/keys.md``.

Run as a script, by ``make tables``, it writes the page of keys, which is under version control: there a
default, a bound or a meaning that has changed is seen.
"""

from collections.abc import Iterable
from pathlib import Path

import click
from reference_pages import index, model_page, study_page, task_page
from reference_text import key_table

from seqsuite.cli import main
from seqsuite.experiments.config.keys import list_keys
from seqsuite.models import MODELS
from seqsuite.results.studies import load_studies
from seqsuite.results.studies.study import place_of
from seqsuite.tasks import TASKS


def write_reference(folder: Path) -> None:
    """Write all generated pages into ``folder``, and leave alone those that have not changed."""
    keys, studies = list_keys(), load_studies()[0]
    pages = {
        "cli": cli_page(),
        "tasks": index("Each task", "tasks", ((name, TASKS.summary(name)) for name in TASKS.names())),
        "models": index("Each model", "models", ((name, MODELS.summary(name)) for name in MODELS.names())),
        "studies": index(
            "Each study", "studies", ((name, studies[name].title) for name in sorted(studies, key=place_of))
        ),
        **{f"tasks/{name}": task_page(name, keys) for name in TASKS.names()},
        **{f"models/{name}": model_page(name, keys) for name in MODELS.names()},
        **{f"studies/{name}": study_page(name, study) for name, study in studies.items()},
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


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
    parts = [f"# Keys\n\n{about}\n\n{key_table(key for key in keys if not key.of)}\n"]
    for of in sorted({(key.name.rpartition(".")[0], key.of) for key in keys if key.of}):
        ours = [key for key in keys if (key.name.rpartition(".")[0], key.of) == of]
        parts.append(f"## `{of[0]}={of[1]}`\n\n{key_table(ours)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(__file__).parent / "keys.md").write_text(keys_page(), encoding="utf-8")
