"""These tests run kernels in Triton's interpreter, which must be on before Triton is imported.

``tests/kernels/test_triton_backends.py`` runs them in a process of its own; so does
``TRITON_INTERPRET=1 python -m pytest tests/kernels/interpreted``.
"""

import os
from collections.abc import Iterator

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

if INTERPRETED:
    from . import interpreter

    interpreter.mend()


def pytest_ignore_collect() -> bool | None:
    return None if INTERPRETED else True


@pytest.fixture(autouse=True)
def _checked_accesses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check every access, and give kernels memory full of NaN."""
    monkeypatch.setattr(torch.Tensor, "new_empty", interpreter.poisoned_new_empty)
    monkeypatch.setattr(torch, "empty_like", interpreter.poisoned_empty_like)
    with interpreter.checked():
        yield
