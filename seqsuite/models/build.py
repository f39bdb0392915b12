"""Building a model from its description."""

from functools import partial

import torch

from seqsuite.errors import UserError
from seqsuite.models import BLOCKS, MIXERS
from seqsuite.models.backbone import NORMS, LanguageModel
from seqsuite.models.base import Block, Mixer
from seqsuite.models.config import ModelConfig


def build_model(config: ModelConfig, *, vocab_size: int, seqlen: int) -> LanguageModel:
    """Build the model that ``config`` describes, with fresh parameters from torch's global generator.

    Args:
        config: The model's description.
        vocab_size: Vocabulary V.
        seqlen: Longest input: the number of positions, where positions are learned.

    Raises:
        UserError: if the options contradict each other (such as a width that the heads do not divide).
    """
    make_norm = partial(NORMS[config.norm], eps=config.norm_eps)
    mixer_class, block_class = MIXERS.load(config.mixer.name), BLOCKS.load(config.block.name)

    def make_mixer(width: int) -> Mixer:
        mixer: Mixer = mixer_class(width, **config.mixer.arguments())
        return mixer

    def make_block() -> Block:
        block: Block = block_class(config.d_model, make_mixer, make_norm, **config.block.arguments())
        return block

    try:
        model = LanguageModel(
            vocab_size,
            config.d_model,
            config.n_layer,
            make_block,
            norm=config.norm,
            norm_eps=config.norm_eps,
            positions=config.positions,
            max_seqlen=seqlen,
            tie_embeddings=config.tie_embeddings,
        )
    except ValueError as error:
        raise UserError(f"The model {config.name!r} cannot be built: {error}.") from error
    model.config = config
    return model


def count_parameters(config: ModelConfig, *, vocab_size: int, seqlen: int) -> int:
    """Return the parameter count without allocating the parameters."""
    with torch.device("meta"):
        return build_model(config, vocab_size=vocab_size, seqlen=seqlen).num_parameters()
