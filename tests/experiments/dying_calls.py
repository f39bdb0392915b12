"""Calls that succeed a number of times, all together, and then fail: as if the process died in between."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def dying_after(
    count: int, calls: Sequence[tuple[Any, str]], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Let ``count`` calls of functions, by owner and name, pass, and raise ``error`` at each later one."""
    made = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal made
            made += 1
            if made > count:
                raise error
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for owner, name in calls:
            patch.setattr(owner, name, dying(getattr(owner, name)))
        yield
