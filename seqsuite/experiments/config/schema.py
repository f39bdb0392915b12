"""The schema of one cell: what can be set, the defaults, and the identity that follows."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from seqsuite.devices import Device
from seqsuite.errors import UserError
from seqsuite.models.config import ModelConfig
from seqsuite.options import (
    Fraction,
    NonNegativeFloat,
    Options,
    PositiveFloat,
    PositiveInt,
    RunName,
    UserPath,
    named_options,
    path_of,
)
from seqsuite.registry import describe_error
from seqsuite.tasks import TASKS

if TYPE_CHECKING:
    from seqsuite.tasks.base import Task

Scale = Literal["smoke", "cpu", "gpu", "paper"]
SCALES: tuple[str, ...] = get_args(Scale)
ExecutorName = Literal["inline", "processes", "ray", "slurm"]


class _Schema(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


_LONGEST_NAME = 200  # characters; names of files have 255 bytes at most


def _file_name(name: str) -> str:
    """Check that a name can be a file's."""
    if not name.strip(" .") or not name.isprintable() or "/" in name or len(name) > _LONGEST_NAME:
        raise ValueError(f"a name has up to {_LONGEST_NAME} characters that a file's name may have")
    return name


class TrainConfig(_Schema):
    """How a cell is trained."""

    init: RunName | None = None
    """Pretrained model whose backbone training starts from, with a fresh head: a finished run's name or id,
    or a folder; or none."""
    steps: PositiveInt = 1000
    """Optimizer steps."""
    batch_size: PositiveInt = 32
    """Sequences B a step."""
    accumulate: PositiveInt = 1
    """Parts that a step's batch is computed in, one after the other: the same numbers in less memory."""
    chunk: PositiveInt | None = None
    """Positions of long sequences that are computed at once, or all: exact gradients in the memory of one
    chunk, for a second forward pass."""
    checkpoint_activations: bool = False
    """Whether blocks keep their inputs only and are computed again for the backward pass."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Numbers of forward and backward passes; weights and the optimizer stay in float32."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for matrices with AdamW for all other parameters."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate of AdamW."""
    muon_rate: PositiveFloat = 10.0
    """Muon's learning rate in multiples of AdamW's."""
    schedule: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    """What the learning rate does after the warm-up."""
    warmup: Fraction = 0.1
    """Fraction of the steps over which the learning rate rises linearly from zero."""
    decay: Fraction = 0.2
    """Fraction of the steps over which the schedule wsd falls at the end."""
    min_learning_rate: NonNegativeFloat = 1e-5
    """Where the schedules end that fall; never above the peak."""
    beta1: Fraction = 0.9
    """AdamW's decay of the gradient's mean."""
    beta2: Fraction = 0.95
    """AdamW's decay of the gradient's second moment."""
    weight_decay: NonNegativeFloat = 0.1
    """Weight decay of matrices; biases, norms, embeddings and state space parameters have none."""
    clip: PositiveFloat | None = 1.0
    """Largest norm of the gradient, or none."""
    ema: Fraction | None = None
    """Decay of a moving average of the weights, which is what is evaluated and published; or none."""
    eval_every: PositiveInt = 100
    """Steps between evaluations on the validation set."""
    eval_batch_size: PositiveInt = 32
    """Sequences a batch in evaluation."""
    patience: PositiveInt | None = None
    """Evaluations without a better one after which training stops early, or none."""
    max_time: PositiveFloat | None = None
    """Seconds of training after which it stops early, or none."""
    log_every: PositiveInt | None = None
    """Steps between points of the training curve; by default such that there are about 500."""
    graphs: Literal["auto", "on", "off"] = "auto"
    """Whether a GPU replays train steps as CUDA graphs: where it can, or never; on says if it cannot."""
    deterministic: bool = False
    """Whether PyTorch refuses operations that may give other bits in another run; they are often slower."""


class RunConfig(_Schema):
    """Where and as what a cell runs; none of this changes its results' meaning, nor its identity."""

    experiment: str = "seqsuite"
    """MLflow experiment."""
    output: UserPath = Path("runs")
    """Folder for the checkpoints of cells in progress."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    checkpoint_every: PositiveInt | None = None
    """Steps between checkpoints; by default they go by time."""
    checkpoint_seconds: PositiveFloat = 60.0
    """Seconds between checkpoints, where no steps are given."""
    sample_length: PositiveInt = 512
    """Tokens of the sample that a finished cell generates."""
    name: Annotated[str, AfterValidator(_file_name)] | None = None
    """What the cell is called, in place of its task, model, scale and seed; a grid adds what differs."""
    nproc: PositiveInt = 1
    """Processes on this machine that train a cell together; `torchrun` sets it by itself."""
    distributed: Literal["ddp", "fsdp2"] = "ddp"
    """What several processes have of a model: all of it each, or a part each."""
    sequence_parallel: PositiveInt = 1
    """Processes that each sequence is split over, a divisor of all."""
    memory: Literal["check", "ignore"] = "check"
    """Whether a cell is refused that is estimated to need more memory than is free."""
    executor: ExecutorName = "inline"
    """What runs the cells of a grid: this process one by one, processes of this machine, Ray, or Slurm."""
    parallel: PositiveInt | None = None
    """Cells that run at once; by default as many as there are GPUs or cores for."""
    threads: PositiveInt | None = None
    """Threads of a cell; by default its share of the cores. As many threads give the same bits anywhere."""
    gpus: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of a GPU that a cell takes, such as 0.5; by default a whole one for each of its processes."""


class CellConfig(_Schema):
    """One cell of a grid: everything that decides its result, and where it runs."""

    task: SerializeAsAny[Options]
    """The task and its options."""
    model: ModelConfig
    """The model and its options."""
    train: TrainConfig = TrainConfig()
    """How it is trained."""
    run: RunConfig = RunConfig()
    """Where and as what it runs."""
    scale: Scale = "cpu"
    """Preset of the task: smoke (seconds), cpu (minutes), gpu (one GPU), paper (the published protocol)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the data and of the initial weights."""

    @field_validator("task", mode="before")
    @classmethod
    def _load_task(cls, value: Any) -> Options:
        return named_options(TASKS, value)

    @property
    def title(self) -> str:
        """Return what the cell is called: ``run.name``, or such as ``dna-mamba-cpu-seed0``."""
        return self.run.name or self.label

    @property
    def label(self) -> str:
        """Return the cell's task, model, scale and seed, such as ``dna-mamba-cpu-seed0``."""
        return f"{self.task.name}-{self.model.name}-{self.scale}-seed{self.seed}"

    def cell_id(self, fingerprint: str) -> str:
        """Return the cell's identity: a hash of all that decides its result, its data included."""
        return _digest(self.model_dump(mode="json", exclude={"run"}), fingerprint)

    def group_id(self, fingerprint: str) -> str:
        """Return the identity that cells share which differ in their seed only."""
        return _digest(self.model_dump(mode="json", exclude={"run", "seed"}), fingerprint)

    def work_folder(self, fingerprint: str) -> Path:
        """Return the folder of the journal and checkpoints, until the cell is finished and sent."""
        return self.run.output / f"{self.label}-{self.cell_id(fingerprint)}"

    def make_task(self) -> "Task":
        """Construct the task.

        Raises:
            UserError: if its options contradict each other, its data cannot be found, or it is a plug-in that
                fails.
        """
        name, make = self.task.name, TASKS.load(self.task.name)
        if TASKS.is_plugin(name):
            return _of_plugin(name, make, self.seed, self.task)
        return make(seed=self.seed, **self.task.arguments())


def _of_plugin(name: str, make: Callable[..., "Task"], seed: int, options: Options) -> "Task":
    """Construct a plug-in's task, which may raise anything, and check that it is one."""
    from seqsuite.tasks.base import ModelIO

    try:
        task = make(seed=seed, **options.arguments())
    except (UserError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise UserError(
            f"The task {name!r} cannot be made by {path_of(make)}: {describe_error(error)}."
        ) from error
    if not isinstance(getattr(task, "io", None), ModelIO):
        raise UserError(
            f"The task {name!r} cannot be used: {path_of(make)} sets no io, such as "
            "self.io = ModelIO(vocab_size=2, seqlen=16) in its constructor."
        )
    return task


def _digest(values: dict[str, Any], fingerprint: str) -> str:
    text = json.dumps([values, fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
