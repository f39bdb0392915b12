"""What models are trained on: one file a task, each a :class:`~seqsuite.tasks.base.Task`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from seqsuite.registry import Registry

if TYPE_CHECKING:
    from seqsuite.tasks.base import Task

TASKS: "Registry[Callable[..., Task]]" = Registry(
    "task",
    "seqsuite.tasks",
    {
        "selective_copying": "seqsuite.tasks.selective_copying:SelectiveCopying",
        "text": "seqsuite.tasks.text:Text",
        "dna": "seqsuite.tasks.dna:DNA",
        "piano": "seqsuite.tasks.piano:Piano",
    },
)
