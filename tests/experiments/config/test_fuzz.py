"""Whatever is written as a setting, it is understood or refused in one sentence."""

import random
import tomllib
from pathlib import Path

import pytest
import tomli_w

from seqsuite.errors import UserError
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.keys import list_keys
from seqsuite.experiments.config.overrides import expand_grid
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.config.schema import SCALES
from seqsuite.experiments.config.settings_file import read_settings, to_toml
from seqsuite.models import MODELS
from seqsuite.tasks import TASKS

PIECES = [
    *["", "0", "1", "-1", "3", "1e3", "1.5", "1e400", "nan", "inf", "none", "true", "false", "yes", "1_000"],
    *["[]", "[1,2]", "[[1]]", "['~a,b',]", "[", "]", "'", '"', "'a,b'", "a,b", ",", "0..2", "4..0", "9.."],
    *["18446744073709551616", "9" * 5000, "1" * 30, "\0", "/tmp/\0x", "~nouser/x", "é漢", "\ud800", "\n"],
    *["main*3", "[main*0,s4]", "[main*99999999999]", "auto", "130m", "rotary", "learned", "swiglu", "unet"],
    *["mamba", "s4", "dna", "text", "smoke", "gpu", "cuda", "~", ".", "..", "/", "~/x", "0x10", "١"],
    *["[" * 90, "=", " ", "1e-400", "x" * 3000],
]  # fmt: skip
TAILS = [
    "x",
    "name",
    "x.y",
    "mixer",
    "mixer.d_state",
    "block",
    "block.expand",
    "size",
    "path",
    "0",
    "é",
    "",
    "layers.x",
]


USUAL = {
    "whole number": ["1", "2", "8", "1e2"],
    "number": ["0.5", "1", "1e-3"],
    "true or false": ["true", "false"],
}


def texts(random_number: random.Random, keys: dict[str, list[str]]) -> list[str]:
    """Return some arguments, most of them nearly right."""
    chosen = []
    for _ in range(random_number.randint(1, 3)):
        key = random_number.choice(list(keys))
        if keys[key] and random_number.random() < 0.6:
            chosen.append(f"{key}={random_number.choice(keys[key])}")
            continue
        if random_number.random() < 0.2:
            key = f"{key}.{random_number.choice(TAILS)}"
        if random_number.random() < 0.05:
            key = key[: random_number.randrange(len(key) + 1)]
        value = random_number.choice(PIECES)
        if random_number.random() < 0.3:
            value += random_number.choice([",", "", ".."]) + random_number.choice(PIECES)
        chosen.append(f"{key}={value}")
    start = [f"task={random_number.choice(TASKS.names())}"]
    if random_number.random() < 0.5:
        start.append(f"model={random_number.choice(MODELS.names())}")
    if random_number.random() < 0.3:
        start.append(f"scale={random_number.choice(SCALES)}")
    return start * (random_number.random() < 0.95) + chosen


def check_sentence(message: str) -> None:
    assert "\n" not in message
    assert len(message) < 20_000


def check(arguments: list[str], zipped: bool) -> bool:
    """Resolve some cells of a grid; return whether they could be."""
    try:
        cells = resolve_grid(expand_grid(arguments, zipped=zipped)[:3])
    except UserError as error:
        check_sentence(str(error))
        return False
    for cell in cells:
        assert 0 < len(cell.title) < 255
        assert "/" not in cell.title
    return True


def run(seeds: range) -> None:
    keys = {
        key.name: [*key.choices] or next((USUAL[kind] for kind in USUAL if key.type.startswith(kind)), [])
        for key in list_keys()
    } | {"model.layers.attention.mixer": ["s4"], "model.layers.x.block": ["none"]}
    understood = 0
    for seed in seeds:
        random_number = random.Random(seed)
        arguments = texts(random_number, keys)
        try:
            understood += check(arguments, zipped=random_number.random() < 0.2)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {arguments}") from error
    assert len(seeds) / 20 < understood < len(seeds)


def test_settings_are_understood_or_refused() -> None:
    run(range(300))


@pytest.mark.slow
def test_many_settings_are_understood_or_refused() -> None:
    run(range(300, 30_300))


def test_files_are_understood_or_refused(tmp_path: Path) -> None:
    whole = to_toml(resolve({"task": "text", "model": "hybrid"})) + '[grid]\n"model.mixer.d_state" = "4..5"\n'
    path = tmp_path / "cell.toml"
    for seed in range(300):
        random_number = random.Random(seed)
        content = bytearray(whole.encode())
        for _ in range(random_number.randint(1, 4)):
            place = random_number.randrange(len(content))
            content[place : place + random_number.choice([0, 1, 1, 9])] = random_number.choice(
                [
                    b"",
                    b"[",
                    b"]",
                    b"\0",
                    b"\xff",
                    b'"',
                    b"5",
                    b"x",
                    b"= {}",
                    b"\n",
                    b"name = 1\n",
                    b"1979-05-27",
                ]
            )
        path.write_bytes(content)
        try:
            settings, grid = read_settings(path)
            resolve(settings | {key: values[0] for key, values in grid.items()})
        except UserError as error:
            check_sentence(str(error))


@pytest.mark.parametrize("task", TASKS.names())
@pytest.mark.parametrize("model", ["mamba", "hybrid", "transformer"])
def test_a_printed_cell_is_read_back_the_same(tmp_path: Path, task: str, model: str) -> None:
    cell = resolve({"task": task, "model": model, "scale": "paper", "train.clip": None, "run.name": "a name"})
    path = tmp_path / "cell.toml"
    path.write_text(to_toml(cell), encoding="utf-8")
    settings, grid = read_settings(path)
    assert grid == {}
    assert resolve({}, settings) == cell
    assert tomli_w.dumps(tomllib.loads(path.read_text())) == path.read_text()
