"""The names under which runs are recorded: the schema that ``seqsuite.results`` reads."""

from typing import Literal

TAG_KIND = "seqsuite.kind"
"""``"cell"`` for one training run, ``"grid"`` for the parent of several."""
TAG_CELL = "seqsuite.cell"
"""Identity of the cell: the hash of its resolved configuration."""
TAG_GROUP = "seqsuite.group"
"""Hash of the configuration without its seed: cells to average over."""
TAG_TASK = "seqsuite.task"
TAG_MODEL = "seqsuite.model"
TAG_SCALE = "seqsuite.scale"
TAG_SEED = "seqsuite.seed"
TAG_METRIC = "seqsuite.metric"
"""The task's metric, such as ``bits_per_base``: the ``<metric>`` in the metric names below."""
TAG_HIGHER_IS_BETTER = "seqsuite.higher_is_better"
"""``"true"`` or ``"false"``."""
TAG_BASELINE = "seqsuite.baseline"
"""Name of the trivial baseline."""
TAG_VERSION = "seqsuite.version"
TAG_HOST = "seqsuite.host"
TAG_PROCESS = "seqsuite.process"
"""``<pid> <start time>`` of the process that writes the run, as :func:`process_identity` gives it."""

# By step.
TRAIN_LOSS = "train/loss"
"""Cross-entropy in nats per counted target, like ``validation/loss``."""
LEARNING_RATE = "train/learning_rate"
TOKENS_PER_SECOND = "train/tokens_per_second"
"""By step; the last value of a finished cell is its average."""
VALIDATION_LOSS = "validation/loss"
VALIDATION = "validation/"
"""``validation/<metric>``."""
# Once, at the end.
TEST = "test/"
"""``test/<metric>`` at the best checkpoint."""
BEST = "best/"
"""``best/<metric>``: validation at the best checkpoint."""
BASELINE = "baseline/"
"""``baseline/<metric>`` on the test set, which is what results are compared on."""
BASELINE_VALIDATION = "baseline_validation/"
"""``baseline_validation/<metric>``, which is what learning curves show."""
PARAMETERS = "model/parameters"
TRAIN_SECONDS = "train/seconds"

RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]
