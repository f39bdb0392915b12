"""What is read from source is what an import would say."""

import sys
from pathlib import Path

import pytest

from seqsuite import declarations
from seqsuite.declarations import Declaration, Option, declaration
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.options import options_schema
from seqsuite.registry import Registry
from seqsuite.tasks import TASKS

REGISTRIES = (TASKS, MODELS, BLOCKS, MIXERS, BACKBONES)
BUILTIN = [(registry, name) for registry in REGISTRIES for name in registry.names()]

MODULE = '''
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from seqsuite.options import PositiveInt, UserPath
from seqsuite.tasks.base import Split

raise RuntimeError("imported")

Kind = Literal["a", "b"]
WIDTH: int = 4
HALF = WIDTH


def preset():
    """A preset.

    With more.
    """


class Plain:
    """A layer: nothing more."""

    def __init__(self, d_model: int, *, width: PositiveInt = WIDTH, half: int = HALF,
                 kind: Kind | None = None,
                 on: bool = True, negative: float = -1.5, several: tuple[int, ...] = (1, 2),
                 path: UserPath | None = None, split: Split = "train",
                 deep: Annotated[Literal[1, 2] | None, Field(gt=0)] = 1) -> None:
        pass


class Silent:
    def __init__(self, width=3) -> None:
        pass
'''


@pytest.mark.parametrize(("registry", "name"), BUILTIN, ids=[f"{r.kind}-{name}" for r, name in BUILTIN])
def test_source_and_signature_agree(registry: Registry, name: str) -> None:
    found = registry.declaration(name)
    target = registry.load(name)
    fields = {
        key: field.default for key, field in options_schema(target).model_fields.items() if key != "name"
    }
    assert {key: option.default for key, option in found.options.items()} == fields
    assert found == declarations.imported_declaration(target.__module__, target.__name__)
    assert found.summary


def test_no_built_in_name_needs_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(module: str, name: str) -> Declaration:
        raise AssertionError(f"{module}:{name} is imported to be described")

    monkeypatch.setattr(declarations, "imported_declaration", refuse)
    declaration.cache_clear()
    assert all(registry.declaration(name) for registry, name in BUILTIN)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_literals_aliases_and_imported_types_are_read(plugin: Path) -> None:
    (plugin / "plain_plugin.py").write_text(MODULE)
    assert declaration("plain_plugin:preset") == Declaration("A preset.", {})
    found = declaration("plain_plugin:Plain")
    assert found.summary == "A layer: nothing more."
    assert found.options == {
        "width": Option(4, ()),
        "half": Option(4, ()),
        "kind": Option(None, ("a", "b")),
        "on": Option(True, ("true", "false")),
        "negative": Option(-1.5, ()),
        "several": Option((1, 2), ()),
        "path": Option(None, ()),
        "split": Option("train", ("train", "validation", "test")),
        "deep": Option(1, ("1", "2")),
    }
    assert "plain_plugin" not in sys.modules


@pytest.mark.parametrize(
    "body",
    [
        "class Layer(Base):\n    'A layer.'",
        "def wrap(c):\n    return c\n@wrap\nclass Layer:\n    'A layer.'\n"
        "    def __init__(self, width: int = 3) -> None: ...",
        "class Layer:\n    'A layer.'\n    def __init__(self, width: int = 1 + 2) -> None: ...",
        "class Layer:\n    'A layer.'\n    def __init__(self, width: 'int' = 3) -> None: ...",
        "class Inner:\n    'A layer.'\n    def __init__(self, width: int = 3) -> None: ...\nLayer = Inner",
        "class Layer:\n    'A layer.'\n    def __init__(self, width: int = int('3')) -> None: ...",
    ],
)
def test_what_the_source_does_not_say_is_imported(
    plugin: Path, body: str, request: pytest.FixtureRequest
) -> None:
    base = "class Base:\n    def __init__(self, width: int = 3) -> None: ...\n"
    name = f"unclear_plugin_{abs(hash(body))}"
    (plugin / f"{name}.py").write_text(base + body)
    assert declaration(f"{name}:Layer") == Declaration("A layer.", {"width": Option(3, ())})
    assert name in sys.modules
