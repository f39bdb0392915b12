"""docs/keys.md is what the code declares: a default, a bound or a choice that changes is seen there."""

from pathlib import Path

import reference


def test_the_page_of_keys_is_that_of_the_code() -> None:
    page = Path(reference.__file__).parent / "keys.md"
    assert page.read_text(encoding="utf-8") == reference.keys_page(), "renew it by `make tables`"
