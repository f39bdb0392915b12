"""Building a model from its description."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from seqsuite.errors import UserError
from seqsuite.models import BACKBONES, BLOCKS, MIXERS, MODELS
from seqsuite.models.backbones.base import MAIN, Backbone
from seqsuite.models.backbones.isotropic import expand_pattern
from seqsuite.models.base import Block, Mixer
from seqsuite.models.config import LayerConfig, ModelConfig, ModelShape
from seqsuite.models.contract import check_outputs
from seqsuite.models.sequence_model import (
    NORMS,
    LanguageModel,
    SequenceClassifier,
    SequenceModel,
    SequenceTagger,
)
from seqsuite.options import Options
from seqsuite.registry import describe_error, did_you_mean, is_of_a_plugin


def build_shaped(config: ModelConfig, shape: ModelShape) -> SequenceModel:
    """Build the model that ``config`` describes for data of a shape, from torch's global generator.

    Returns:
        A :class:`~seqsuite.models.sequence_model.SequenceClassifier` where the shape has classes, a
        :class:`~seqsuite.models.sequence_model.LanguageModel` where the outputs are the vocabulary of the
        input, else a :class:`~seqsuite.models.sequence_model.SequenceTagger`.

    Raises:
        UserError: if the options contradict each other (such as a width that the heads do not divide).
    """
    if shape.vocab_size is not None and shape.n_outputs is None and shape.n_classes is None:
        return build_model(config, vocab_size=shape.vocab_size, seqlen=shape.seqlen)
    with _contradictions(config):
        model: SequenceModel
        backbone = _build_backbone(config, shape.seqlen)
        if shape.n_classes is not None:
            model = SequenceClassifier(
                shape.vocab_size,
                config.d_model,
                backbone,
                shape.n_classes,
                **_common(config, shape.seqlen),
                d_input=shape.d_input,
            )
        else:
            assert shape.n_outputs is not None
            model = SequenceTagger(
                shape.vocab_size,
                config.d_model,
                backbone,
                shape.n_outputs,
                **_common(config, shape.seqlen),
                d_input=shape.d_input,
            )
    model.config = config
    return model


def build_model(config: ModelConfig, *, vocab_size: int, seqlen: int) -> LanguageModel:
    """Build the model that ``config`` describes, with fresh parameters from torch's global generator.

    Args:
        config: The model's description.
        vocab_size: Vocabulary V.
        seqlen: Longest input: the number of positions, where positions are learned.

    Raises:
        UserError: if the options contradict each other (such as a width that the heads do not divide).
    """
    with _contradictions(config):
        model = LanguageModel(
            vocab_size,
            config.d_model,
            _build_backbone(config, seqlen),
            tie_embeddings=config.tie_embeddings,
            **_common(config, seqlen),
        )
    model.config = config
    return model


def count_parameters(config: ModelConfig, shape: ModelShape) -> int:
    """Return the parameter count without allocating the parameters."""
    with torch.device("meta"):
        return build_shaped(config, shape).num_parameters()


def _common(config: ModelConfig, seqlen: int) -> dict[str, Any]:
    return {
        "norm": config.norm,
        "norm_eps": config.norm_eps,
        "positions": config.positions,
        "max_seqlen": seqlen,
    }


def build_mixer(choice: Options, width: int, seqlen: int) -> Mixer:
    """Build the mixer that ``choice`` names; a constructor that takes ``seqlen`` is told the longest input.

    Raises:
        ValueError: if the options contradict each other.
    """
    mixer_class = MIXERS.load(choice.name)
    told = {"seqlen": seqlen} if "seqlen" in inspect.signature(mixer_class).parameters else {}
    mixer: Mixer = mixer_class(width, **told, **choice.arguments())
    if MIXERS.is_plugin(choice.name):
        mixer.register_forward_hook(check_outputs, with_kwargs=True)
    return mixer


def _build_backbone(config: ModelConfig, seqlen: int) -> Backbone:
    make_norm = partial(NORMS[config.norm], eps=config.norm_eps)

    def make_block(kind: str, width: int) -> Block:
        layer = _layer(config, kind)
        block_class = BLOCKS.load(layer.block.name)

        def make_mixer(inner_width: int) -> Mixer:
            return build_mixer(layer.mixer, inner_width, seqlen)

        return block_class(width, make_mixer, make_norm, **layer.block.arguments())

    backbone_class = BACKBONES.load(config.backbone.name)
    return backbone_class(config.d_model, config.n_layer, make_block, **config.backbone.arguments())


def left_out(config: ModelConfig) -> list[str]:
    """Return the kinds of layers in a backbone's pattern whose turn would come after the last layer."""
    try:
        kinds = expand_pattern(tuple(config.backbone.arguments().get("pattern") or ()))
    except ValueError:  # of which building the model complains
        return []
    return [kind for kind in dict.fromkeys(kinds) if kind not in kinds[: config.n_layer]]


def _layer(config: ModelConfig, kind: str) -> LayerConfig:
    """Return the block and the mixer that a backbone means by ``kind``."""
    if kind == MAIN:
        return LayerConfig(block=config.block, mixer=config.mixer)
    if kind in config.layers:
        return config.layers[kind]
    if kind in MODELS.names():
        preset = MODELS.load(kind)()
        return LayerConfig(block=preset["block"], mixer=preset["mixer"])
    known = [MAIN, *config.layers, *MODELS.names()]
    raise UserError(
        f"There is no layer {kind!r}: choose from {', '.join(known)}, or define it with "
        f"model.layers.{kind}.block and model.layers.{kind}.mixer.{did_you_mean(kind, known)}"
    )


@contextmanager
def _contradictions(config: ModelConfig) -> Iterator[None]:
    """Turn what a layer says about its arguments into a sentence."""
    try:
        yield
    except ValueError as error:
        said = describe_error(error) if is_of_a_plugin(error) else error
        raise UserError(f"The model {config.name!r} cannot be built: {said}.") from error
    except (UserError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        said = str(error).lower()
        if "overflow" in said:  # what PyTorch says of sizes past 64 bits
            raise UserError(f"The model {config.name!r} cannot be built: its sizes are too large.") from error
        if "allocate memory" in said or not is_of_a_plugin(error):
            raise
        raise UserError(f"The model {config.name!r} cannot be built: {describe_error(error)}.") from error
