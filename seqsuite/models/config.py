"""The schema of ``model.*`` and the function that builds a model from it."""

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, SerializeAsAny, field_validator

from seqsuite.errors import UserError
from seqsuite.models import BLOCKS, MIXERS
from seqsuite.models.backbone import NORMS, LanguageModel
from seqsuite.models.base import Block, Mixer
from seqsuite.options import Options, PositiveInt, options_schema
from seqsuite.registry import Registry


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
    positions: Literal["learned", "none"] = "none"
    """Learned embedding of absolute positions, or none (attention has its own ``rotary``)."""
    tie_embeddings: bool = True
    """Whether the head shares the embedding's weights."""

    @field_validator("block", mode="before")
    @classmethod
    def _load_block(cls, value: Any) -> Options:
        return load_options(BLOCKS, value)

    @field_validator("mixer", mode="before")
    @classmethod
    def _load_mixer(cls, value: Any) -> Options:
        return load_options(MIXERS, value)


def load_options(registry: Registry, value: Any) -> Options:
    """Validate ``{"name": …, **options}`` against the options of the class that the registry names."""
    if isinstance(value, Options):
        return value
    return options_schema(registry.load(value["name"])).model_validate(value)


def build_model(config: ModelConfig, *, vocab_size: int, seqlen: int) -> LanguageModel:
    """Build the model that ``config`` describes, with fresh parameters from torch's global generator.

    Args:
        config: The model's description.
        vocab_size: Vocabulary V.
        seqlen: Longest input: the number of positions, where positions are learned.

    Raises:
        UserError: if the options contradict each other (such as a width that the heads do not divide).
    """
    make_norm = NORMS[config.norm]
    mixer_class, block_class = MIXERS.load(config.mixer.name), BLOCKS.load(config.block.name)

    def make_mixer(width: int) -> Mixer:
        mixer: Mixer = mixer_class(width, **config.mixer.arguments())
        return mixer

    def make_block() -> Block:
        block: Block = block_class(config.d_model, make_mixer, make_norm, **config.block.arguments())
        return block

    try:
        return LanguageModel(
            vocab_size,
            config.d_model,
            config.n_layer,
            make_block,
            norm=config.norm,
            positions=config.positions,
            max_seqlen=seqlen,
            tie_embeddings=config.tie_embeddings,
        )
    except ValueError as error:
        raise UserError(f"The model {config.name!r} cannot be built: {error}.") from error


def count_parameters(config: ModelConfig, *, vocab_size: int, seqlen: int) -> int:
    """Return the parameter count without allocating the parameters."""
    with torch.device("meta"):
        return build_model(config, vocab_size=vocab_size, seqlen=seqlen).num_parameters()
