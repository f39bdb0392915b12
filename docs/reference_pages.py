"""The page of each task, model and study, made from code, presets and the committed exports."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from committed import RESULTS, Use, best_rows, measured_in_benchmarks, sections, uses
from reference_text import in_markdown, key_table, prose, table

from seqsuite.errors import UserError
from seqsuite.experiments.config.keys import Key
from seqsuite.experiments.config.resolve import resolve, resolve_model
from seqsuite.experiments.config.scales import SCALES, preset
from seqsuite.experiments.config.values import shown
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.models.build import build_model
from seqsuite.models.zoo import LENGTHS, WIDTH, size_table
from seqsuite.registry import Registry
from seqsuite.results.studies import Study, load_studies
from seqsuite.results.studies.study import place_of
from seqsuite.results.table import Row, Section
from seqsuite.tasks import TASKS
from seqsuite.tasks.base import IGNORE, Batch, Task

_BYTES = 4  # of a float32
_SHOWN = 32  # positions of an example without a codec
_LETTERS = 300  # of an example with one


def model_page(name: str, keys: Sequence[Key]) -> str:
    """Return what a named model computes, its sizes, options and state, and where it was run."""
    values = MODELS.load(name)()
    chosen = {"backbone": "isotropic", **{part: values[part]["name"] for part in ("block", "mixer")}}
    parts = [f"# {name}", prose(MODELS.load(name))]
    parts.append(
        f"```sh\nseqsuite run task=text model={name}\nseqsuite run task=text model={name} --print-config\n```"
    )
    parts.append("## What it computes")
    parts += [_part(MIXERS, chosen["mixer"]), _part(BLOCKS, chosen["block"]), _part(BACKBONES, "isotropic")]
    for kind, layer in values.get("layers", {}).items():
        parts.append(f"Layers of the kind `{kind}` have another mixer and another block.")
        parts += [_part(MIXERS, layer["mixer"]["name"]), _part(BLOCKS, layer["block"]["name"])]
    parts.append("## State\n\n" + _state(name, values))
    sizes = size_table([name])
    parts.append("## Sizes")
    if sizes:
        parts.append(
            f"`model.size=NAME` sets these; [the zoo](../../zoo.md#sizes) says what they count.\n\n{sizes}"
        )
    else:
        parts.append("It has no named sizes: set `model.d_model` and `model.n_layer`.")
    parts.append("## Options")
    parts.append(
        "The name stands for `" + " ".join(_settings("model", values)) + "`; any of them can be set."
    )
    of = {f"model.{part}": chosen[part] for part in ("mixer", "block", "backbone")}
    parts.append(key_table(key for key in keys if key.of and of.get(key.name.rpartition(".")[0]) == key.of))
    parts.append("Those of every model are among the [keys](../../keys.md).")
    parts.append(_studies_of(name, None if "layers" in values else chosen["mixer"]))
    rows = [
        (
            _result(study),
            f"`{s.task}`",
            s.scale,
            _apart(s, row),
            s.metric.label,
            _score(s, row),
            str(len(row.values)),
        )
        for study, s, row in best_rows(name)
    ]
    if rows:
        heads = ("results", "task", "scale", "with", "metric", "test", "seeds")
        parts.append("## What was measured\n\nIts best row in each committed table.\n\n" + table(heads, rows))
    return "\n\n".join(parts) + "\n"


def _part(registry: Registry[Any], name: str) -> str:
    """Return a mixer, block or backbone with what its class and module say, and where its code is."""
    found = registry.load(name)
    module = inspect.getmodule(found)
    assert module is not None
    about = inspect.getdoc(module) or ""
    path = module.__name__.replace(".", "/") + ".py"
    first = about.partition("\n\n")[0].replace("``", "`").replace("\n", " ")
    return f"**{registry.kind.capitalize()} `{name}`.** {prose(found)}\n\n{first} Its code is `{path}`."


def _state(name: str, values: dict[str, Any]) -> str:
    n_layer = 4 if values.get("layers") else 2  # of each kind at least one
    config = resolve_model(name, {"d_model": WIDTH, "n_layer": n_layer})
    with torch.device("meta"):
        model = build_model(config, vocab_size=256, seqlen=LENGTHS[0])
    sizes = [_BYTES * sum(layer.state_size(length) for layer in model.blocks.layers()) for length in LENGTHS]
    told = " and ".join(
        f"{size:,} bytes after {length:,} positions" for size, length in zip(sizes, LENGTHS, strict=True)
    )
    grows = "It has one size at any length." if sizes[0] == sizes[1] else "It grows with the length."
    return (
        f"With {n_layer} blocks of width {WIDTH}, what a sequence leaves to the next position takes {told}, "
        f"in float32. {grows}"
    )


def _settings(prefix: str, values: dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _settings(f"{prefix}.{key}", value)
        else:
            text = f"[{','.join(value)}]" if isinstance(value, list) else shown(value)
            yield f"{prefix if key == 'name' else f'{prefix}.{key}'}={text}"


def _studies_of(model: str, mixer: str | None) -> str:
    used: dict[str, list[Use]] = {}
    for use in uses():
        if model == use.model or mixer == use.mixer:
            used.setdefault(use.study, []).append(use)
    lines = []
    benchmarked = [study for study, models in measured_in_benchmarks().items() if model in models]
    for study in sorted({*used, *benchmarked}, key=place_of):
        found = used.get(study, [])
        own = any(use.model == model and mixer in (None, use.mixer) for use in found)
        how = "the model" if own else f"the mixer `{mixer}` in other models" if found else "measured"
        tasks = ", ".join(f"`{task}`" for task in dict.fromkeys(use.task for use in found))
        lines.append((_study(study), tasks, how))
    if not lines:
        return "## Studies\n\nIt is in none of the studies."
    return "## Studies\n\n" + table(("study", "task", "as"), lines)


def task_page(name: str, keys: Sequence[Key]) -> str:
    """Return what a task is, an example, its scales, options, studies and results."""
    options = [key for key in keys if key.of == name and key.name.startswith("task.")]
    parts = [f"# {name}", prose(TASKS.load(name))]
    commands = "\n".join(f"seqsuite run task={name} scale={scale}" for scale in SCALES)
    parts.append(f"```sh\n{commands}\n```")
    task = resolve({"task": name, "scale": "smoke"}).make_task()
    parts.append("## What is predicted\n\n" + _predicted(task))
    parts.append("## An example\n\nThe first training sequence at `scale=smoke`, seed 0.")
    try:
        parts.append(_example(task, task.train_batch(range(1))))
    except UserError as error:
        parts.append(f"It takes data that was not there when this page was made. {error}")
    parts.append("## Compared with\n\n" + _baselines(name, task))
    parts.append("## Scales\n\n" + _scales(name))
    if options:
        parts.append(f"## Options\n\n{key_table(options)}")
    parts.append(_studies_with(name))
    return "\n\n".join(parts) + "\n"


def _predicted(task: Task) -> str:
    io = task.io
    read = f"{io.vocab_size:,} token ids" if io.vocab_size is not None else f"{io.d_input} numbers a position"
    if io.n_classes is not None:
        names = f": {', '.join(task.class_names)}" if task.class_names else ""
        what = f"one of {io.n_classes} classes a sequence{names}"
    elif io.d_target is not None:
        what = f"{io.d_target} numbers a position"
    elif io.n_labels is not None:
        what = f"one of {io.n_labels} labels a position"
    else:
        what = "a token at each position that counts"
    longer = f"; evaluation goes to {io.eval_seqlen:,}" if (io.eval_seqlen or 0) > io.seqlen else ""
    metrics = ", ".join(
        f"`{metric.name}` ({'higher' if metric.higher_is_better else 'lower'} is better"
        + (f", in {metric.unit})" if metric.unit else ")")
        for metric in task.metrics
    )
    ranks = "; the first ranks" if len(task.metrics) > 1 else ""
    return (
        f"A model reads {read} and predicts {what}. At `scale=smoke` training sequences have "
        f"{io.seqlen:,} positions at most{longer}. Measured: {metrics}{ranks}."
    )


def _example(task: Task, batch: Batch) -> str:
    row = batch.inputs[0]
    if batch.inputs.dtype.kind == "f":
        lines = [f"input:  {row.shape[0]} positions of {row.shape[1]} numbers each"]
    elif task.codec is not None:
        lines = [f"input:  {task.codec.preview(row, _LETTERS)}"]
    else:
        lines = [f"input:  {_numbers(row)}"]
    if task.io.n_classes is not None:
        number = int(batch.targets[0])
        lines.append(f"class:  {task.class_names[number] if task.class_names else number}")
    elif task.codec is None:
        lines.append(f"target: {_numbers(batch.targets[0])}")
    else:
        lines.append("target: the token after each")
    dots = "\n\nA dot is a position that does not count." if (batch.targets == IGNORE).any() else ""
    return "```text\n" + "\n".join(lines) + "\n```" + dots


def _numbers(row: np.ndarray[Any, Any]) -> str:
    width = max(len(str(number)) for number in row.tolist() if number != IGNORE)
    told = [("." if number == IGNORE else str(number)).rjust(width) for number in row[:_SHOWN].tolist()]
    return " ".join(told) + (" …" if len(row) > _SHOWN else "")


def _baselines(name: str, task: Task) -> str:
    """Return the baselines that the exports have, or else those of a task whose data is made."""
    found: dict[tuple[str, ...], list[str]] = {}
    for study, section in _sections_of(name):
        apart = " ".join(f"`{key}={value}`" for key, value in section.apart.items())
        for baseline, value in section.baselines.items():
            told = f"{value:.{section.metric.digits}f}"
            row = (section.scale, apart, baseline, told, section.metric.label)
            found.setdefault(row, []).append(_result(study))
    if found:
        rows = [(*row, ", ".join(dict.fromkeys(studies))) for row, studies in found.items()]
        return table(("scale", "with", "predictor", "reaches", "metric", "in"), rows)
    metric = task.metrics[0]
    try:
        usual = task.baselines(task.eval_sets("test")[0])
    except UserError as error:
        return f"Its baselines take data that was not there when this page was made. {error}"
    if not usual:
        return "It has no baseline."
    told = [(one.name, f"{one.value:.{metric.digits}f}", metric.name.replace("_", " ")) for one in usual]
    return "At `scale=smoke`:\n\n" + table(("predictor", "reaches", "metric"), told)


def _scales(name: str) -> str:
    presets = preset(name)
    tables = {scale: dict(_flat(presets[scale])) for scale in SCALES if scale in presets}
    keys = dict.fromkeys(key for settings in tables.values() for key in settings)
    rows = [(f"`{key}`", *(tables[scale].get(key, "") for scale in tables)) for key in keys]
    return "What is not set at a scale has its default.\n\n" + table(("key", *tables), rows)


def _flat(tables: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tables.items():
        if prefix == "" and key not in ("task", "train", "model"):
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", shown(value)


def _studies_with(task: str) -> str:
    scales: dict[str, list[str]] = {}
    for use in uses():
        if use.task == task:
            scales.setdefault(use.study, []).append(use.scale)
    lines = [(_study(study), ", ".join(dict.fromkeys(found))) for study, found in scales.items()]
    told = table(("study", "scales"), lines) if lines else "It is in none of the studies."
    rows = [
        (
            _result(study),
            s.scale,
            f"`{s.rows[0].label}`",
            _apart(s, s.rows[0]),
            s.metric.label,
            _score(s, s.rows[0]),
        )
        for study, s in _sections_of(task)
    ]
    if rows:
        heads = ("results", "scale", "best", "with", "metric", "test")
        told += "\n\nThe best row of each committed table:\n\n" + table(heads, rows)
    return "## Studies and results\n\n" + told


def _sections_of(task: str) -> list[tuple[str, Section]]:
    return [(study, section) for study, section in sections() if section.task == task]


def _apart(section: Section, row: Row) -> str:
    sizes = {key: value for key, value in row.departures.items() if key in ("d_model", "n_layer", "size")}
    told = {**section.apart, **row.options, **sizes}
    return " ".join(f"`{key}={value}`" for key, value in told.items())


def _score(section: Section, row: Row) -> str:
    spread = "" if row.score.spread is None else f" ± {section.metric.show(row.score.spread)}"
    return section.metric.show(row.score.mean) + spread


def _study(name: str) -> str:
    studies = load_studies()[0]
    return f"[{name}: {studies[name].title}](../studies/{name}.md)"


def _result(name: str) -> str:
    return f"[{name.replace('_', ' ')}](../../results/{name}.md)"


def study_page(name: str, study: Study) -> str:
    """Return what a study asks, the commands that run it, its pictures, and the published numbers."""
    parts = [f"# {name}: {study.title}", f"*{study.source}*", study.question, study.finding]
    commands = [
        f"seqsuite reproduce {name} --scale {scale}"
        for scale in (*study.grids, *study.benches, *study.zero_shot)
    ]
    parts += ["\n".join(["```sh", *commands, "```"])] if commands else []
    if (RESULTS / f"{name}.md").exists():
        parts.append(
            "## What we found\n\nAt the budgets that were run: "
            f"[tables and verdict](../../results/{name}.md)."
        )
        parts += [
            f"![{_alt(path.stem)}](../../results/{path.name})"
            for path in sorted(RESULTS.glob(f"{name}-*.svg"))
        ]
    if study.published:
        parts.append("## What was published")
    for published in study.published:
        settings = [*published.settings]
        rows = [map(str, row) for row in published.rows]
        note = " (secondary transcription)" if published.secondary else ""
        shown_rows = table([*(f"`{key}`" for key in settings), *published.metrics], rows)
        parts.append(f"Published{note}, `task={published.task}`. {published.protocol}\n\n{shown_rows}")
    return "\n\n".join(filter(None, parts)) + "\n"


def _alt(picture: str) -> str:
    if picture.endswith("-learning"):
        return "How each model learned, and what it reached"
    return "What was measured; the results page has the numbers"


def index(title: str, folder: str, entries: Iterable[tuple[str, str]]) -> str:
    """Return a page that lists others, each with a line of what it is."""
    listed = [*entries]
    rows = [(f"[{name}]({folder}/{name}.md)", in_markdown(about)) for name, about in listed]
    names = "\n".join(f"{folder}/{name}" for name, _ in listed)
    head = folder.removesuffix("s").replace("studie", "study")
    return f"# {title}\n\n{table((head, 'what it is'), rows)}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
