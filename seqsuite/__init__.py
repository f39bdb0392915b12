"""Run, compare and reproduce the experiments of the Mamba paper, on a laptop's CPU as on a GPU cluster.

What a notebook needs is here, and is imported when it is first used: :func:`run`, :func:`reproduce`,
:func:`results`, :func:`load`, :func:`build`, :func:`generate`, :func:`inspect`. They are described in
:mod:`seqsuite.api`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from seqsuite import results
    from seqsuite.api import build, generate, inspect, load, reproduce, run

__all__ = ["build", "generate", "inspect", "load", "reproduce", "results", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "results":  # a package that can be called
        return importlib.import_module("seqsuite.results")
    return getattr(importlib.import_module("seqsuite.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
