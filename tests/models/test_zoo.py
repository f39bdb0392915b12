"""The tables of docs/zoo.md are those that the code makes today."""

from pathlib import Path

import pytest

from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS, zoo

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"


@pytest.mark.slow
def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    copy = tmp_path / "zoo.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    zoo.main([str(copy)])
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8"), "run `make tables`"


@pytest.mark.parametrize("registry", [BACKBONES, BLOCKS, MIXERS, MODELS], ids=lambda registry: registry.kind)
def test_the_page_names_everything(registry) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in registry.names():
        assert f"| `{name}` |" in page
