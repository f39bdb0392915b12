"""The tables of docs/zoo.md, made from the code.

``python -m seqsuite.models.zoo docs/zoo.md`` renews them.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.models.base import Mixer
from seqsuite.models.build import build_mixer, count_parameters
from seqsuite.models.config import ModelConfig, ModelShape
from seqsuite.models.presets import sizes
from seqsuite.options import named_options
from seqsuite.registry import Registry
from seqsuite.report import Column
from seqsuite.report.markup import markdown_table

WIDTH = 64
"""Width D that states are counted at."""

LENGTHS = (1 << 10, 1 << 20)
"""Lengths L that states are counted at."""

VOCABULARIES = {"language": (50_280, 2048), "dna": (12, 1024)}
"""Vocabulary and learned positions that parameters are counted with."""

_BYTES = 4  # of a float32


def mixer_table() -> str:
    """Return what each mixer can do, with its default options."""
    rows = []
    for name in MIXERS.names():
        mixer = _mixer(name)
        short, long = (_BYTES * mixer.state_size(length) for length in LENGTHS)
        rows.append(
            (
                f"`{name}`",
                _summary(MIXERS, name),
                "yes",
                "yes, O(1)" if short == long else "yes, O(L)",
                "yes",
                "yes" if mixer.packed_state else "from the start only",
                "yes",
                f"{short:,}",
                f"{long:,}",
            )
        )
    heads = ("mixer", "what it is", "parallel", "step", "chunks", "packed", "gradients through states")
    return _table((*heads, *(f"state at L = {length:,}, bytes" for length in LENGTHS)), rows)


def block_table() -> str:
    """Return the blocks with what they are."""
    return _table(("block", "what it is"), [(f"`{n}`", _summary(BLOCKS, n)) for n in BLOCKS.names()])


def backbone_table() -> str:
    """Return the backbones with what they are."""
    return _table(("backbone", "what it is"), [(f"`{n}`", _summary(BACKBONES, n)) for n in BACKBONES.names()])


def model_table() -> str:
    """Return the named models with the choices behind them."""
    rows = []
    for name in MODELS.names():
        preset = MODELS.load(name)()
        rows.append(
            (
                f"`{name}`",
                f"`{preset['block']['name']}`",
                f"`{preset['mixer']['name']}`",
                _summary(MODELS, name),
            )
        )
    return _table(("model", "block", "mixer", "what it is"), rows)


def size_table(models: Sequence[str] = ()) -> str:
    """Return the named sizes with their blocks, widths and parameter counts; equal ones share a row.

    Args:
        models: The models whose sizes they are, or none for all.

    Returns:
        A Markdown table; empty if none of the models has named sizes.
    """
    rows = []
    for model in models or MODELS.names():
        named = sizes(model)
        for settings in {str(settings): settings for settings in named.values()}.values():
            names = [size for size in named if named[size] == settings]
            config = _sized(model, settings)
            vocab_size, seqlen = VOCABULARIES["dna" if config.d_model <= 512 else "language"]
            parameters = count_parameters(config, ModelShape(vocab_size=vocab_size, seqlen=seqlen))
            size = ", ".join(f"`{name}`" for name in names)
            rows.append((f"`{model}`", size, str(config.n_layer), str(config.d_model), f"{parameters:,}"))
    return _table(("model", "size", "blocks", "width", "parameters"), rows) if rows else ""


TABLES: dict[str, Callable[[], str]] = {
    "mixers": mixer_table,
    "blocks": block_table,
    "backbones": backbone_table,
    "models": model_table,
    "sizes": size_table,
}


def renew(page: str) -> str:
    """Return the page with each table between ``<!-- NAME -->`` and ``<!-- end -->`` made anew."""

    def replace(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(TABLES)}) -->\n.*?<!-- end -->", replace, page, flags=re.DOTALL)


def _mixer(name: str) -> Mixer:
    with torch.device("meta"):
        return build_mixer(named_options(MIXERS, {"name": name}), WIDTH, LENGTHS[0])


def _sized(model: str, settings: dict[str, Any]) -> ModelConfig:
    values = MODELS.load(model)()
    for key, value in settings.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    return ModelConfig(name=model, **values)


def _summary(registry: Registry[Any], name: str) -> str:
    return registry.summary(name).rstrip(".")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown_table([Column(head, head) for head in heads], rows).rstrip()


def main(paths: Sequence[str]) -> None:
    """Renew the tables of each page."""
    for path in map(Path, paths):
        path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
