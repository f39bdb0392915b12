"""What models are trained on: one file a task, each a :class:`~seqsuite.tasks.base.Task`."""

from seqsuite.registry import Registry

TASKS = Registry(
    "task",
    "seqsuite.tasks",
    {
        "selective_copying": "seqsuite.tasks.selective_copying:SelectiveCopying",
        "text": "seqsuite.tasks.text:Text",
        "dna": "seqsuite.tasks.dna:DNA",
        "great_apes": "seqsuite.tasks.great_apes:GreatApes",
        "piano": "seqsuite.tasks.piano:Piano",
    },
)
