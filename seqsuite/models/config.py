"""The schema of ``model.*``, and what of the data a model is built from."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from seqsuite.models import BACKBONES, BLOCKS, MIXERS
from seqsuite.options import Options, PositiveFloat, PositiveInt, named_options

_MOST_LAYERS = 1000  # more than anyone trains, and few enough to be counted in seconds


@dataclass(frozen=True)
class ModelShape:
    """What of the data a model is built from.

    Attributes:
        seqlen: Longest input: the number of positions, where positions are learned.
        vocab_size: Vocabulary V of the input, or ``None`` if it is numbers.
        d_input: Numbers a position, where the input is numbers.
        n_outputs: Outputs a position, where they are not the vocabulary's logits.
        n_classes: Classes of whole sequences, for a classifier.
    """

    seqlen: int
    vocab_size: int | None = None
    d_input: int | None = None
    n_outputs: int | None = None
    n_classes: int | None = None


class _Schema(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


class LayerConfig(_Schema):
    """A block, the mixer inside it, and the options of both."""

    block: SerializeAsAny[Options]
    """The block and its options."""
    mixer: SerializeAsAny[Options]
    """The mixer inside it and its options."""

    @field_validator("block", mode="before")
    @classmethod
    def _load_block(cls, value: Any) -> Options:
        return named_options(BLOCKS, value)

    @field_validator("mixer", mode="before")
    @classmethod
    def _load_mixer(cls, value: Any) -> Options:
        return named_options(MIXERS, value)


class ModelConfig(LayerConfig):
    """A model: a preset's name and every choice behind it."""

    name: str
    """Preset that the other values were taken from."""
    size: str | None = None
    """Named size that ``d_model`` and ``n_layer`` were taken from, such as ``130m``."""
    d_model: PositiveInt = 64
    """Residual width D."""
    n_layer: Annotated[int, Field(gt=0, le=_MOST_LAYERS)] = 2
    """Number of blocks, or of blocks a stage."""
    backbone: SerializeAsAny[Options] = Field(
        default_factory=lambda: named_options(BACKBONES, {"name": "isotropic"})
    )
    """How the blocks are arranged."""
    layers: dict[str, LayerConfig] = {}
    """Further layers by name, for a backbone that arranges several kinds."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm."""
    norm_eps: PositiveFloat = 1e-5
    """What the norms add to the mean square before its root."""
    positions: Literal["learned", "none"] = "none"
    """Learned embedding of absolute positions, or none (attention has its own ``rotary``)."""
    tie_embeddings: bool = True
    """Whether the head shares the embedding's weights."""

    @field_validator("backbone", mode="before")
    @classmethod
    def _load_backbone(cls, value: Any) -> Options:
        return named_options(BACKBONES, value)
