"""Settings in TOML files."""

from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.settings_file import read_settings


def read(tmp_path: Path, text: str):
    path = tmp_path / "cell.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def test_tables_and_dotted_keys_are_settings(tmp_path: Path) -> None:
    settings, grid = read(tmp_path, 'task = "dna"\ntrain.steps = 5\n[model.mixer]\nname = "s4"\nx = "none"\n')
    assert settings == {"task": "dna", "train.steps": 5, "model.mixer.name": "s4", "model.mixer.x": None}
    assert grid == {}


def test_the_grid_has_several_values_a_key(tmp_path: Path) -> None:
    text = (
        '[grid]\nmodel = ["mamba", "s4"]\nseed = "0..2"\n"model.mixer.d_state" = [16, 32]\ntrain.steps = 5\n'
    )
    assert read(tmp_path, text).grid == {
        "model": ["mamba", "s4"],
        "seed": ["0", "1", "2"],
        "model.mixer.d_state": [16, 32],
        "train.steps": [5],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "cannot be read as TOML"),
        ("grid = 5", "grid is a table"),
        ("[grid]\nseed = []", "no value for seed"),
        ('[grid]\nseed = "4..0"', "is no range"),
        ('"a b" = 5', "is not a setting"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        read(tmp_path, text)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.toml cannot be read"):
        read_settings(tmp_path / "missing.toml")
