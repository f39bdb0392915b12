"""docs/keys.md is what the code declares: a default, a bound or a choice that changes is seen there."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_of_keys_is_that_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == reference.keys_page(), (
        "renew it by `make tables`"
    )
