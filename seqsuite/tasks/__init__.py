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
        "copying": "seqsuite.tasks.copying:Copying",
        "induction_heads": "seqsuite.tasks.induction_heads:InductionHeads",
        "mqar": "seqsuite.tasks.mqar:MQAR",
        "state_tracking": "seqsuite.tasks.state_tracking:StateTracking",
        "needle": "seqsuite.tasks.needle:Needle",
        "hamburger": "seqsuite.tasks.hamburger:Hamburger",
        "text": "seqsuite.tasks.text:Text",
        "dna": "seqsuite.tasks.dna:DNA",
        "great_apes": "seqsuite.tasks.great_apes:GreatApes",
        "dna_classification": "seqsuite.tasks.dna_classification:DNAClassification",
        "piano": "seqsuite.tasks.piano:Piano",
        "sc09": "seqsuite.tasks.sc09:SC09",
        "sc09_classifier": "seqsuite.tasks.sc09_classifier:SC09Classifier",
    },
)
