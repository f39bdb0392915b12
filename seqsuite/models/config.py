"""The schema of ``model.*``."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_validator

from seqsuite.models import BLOCKS, MIXERS
from seqsuite.options import Options, PositiveFloat, PositiveInt, named_options


class ModelConfig(BaseModel):
    """A model: a preset's name and every choice behind it."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())

    name: str
    """Preset that the other values were taken from."""
    d_model: PositiveInt = 64
    """Residual width D."""
    n_layer: PositiveInt = 2
    """Number of blocks."""
    block: SerializeAsAny[Options]
    """The block and its options."""
    mixer: SerializeAsAny[Options]
    """The mixer inside it and its options."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm."""
    norm_eps: PositiveFloat = 1e-5
    """What the norms add to the mean square before its root."""
    positions: Literal["learned", "none"] = "none"
    """Learned embedding of absolute positions, or none (attention has its own ``rotary``)."""
    tie_embeddings: bool = True
    """Whether the head shares the embedding's weights."""

    @field_validator("block", mode="before")
    @classmethod
    def _load_block(cls, value: Any) -> Options:
        return named_options(BLOCKS, value)

    @field_validator("mixer", mode="before")
    @classmethod
    def _load_mixer(cls, value: Any) -> Options:
        return named_options(MIXERS, value)
