"""What models are trained on: one file a task, each a :class:`~seqsuite.tasks.base.Task`."""

from seqsuite.registry import Registry

TASKS = Registry(
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
        "piano": "seqsuite.tasks.piano:Piano",
    },
)
