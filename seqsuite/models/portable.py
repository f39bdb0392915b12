"""A small model as plain data: its layers in order and its weights, for a page that runs the model itself."""

import base64
from typing import Any

import torch
from torch import Tensor, nn

from seqsuite.models.backbones.isotropic import Isotropic
from seqsuite.models.base import Block, Mixer, is_plain_linear
from seqsuite.models.blocks.mamba import MambaBlock
from seqsuite.models.blocks.plain import PlainBlock
from seqsuite.models.blocks.transformer import TransformerBlock
from seqsuite.models.mixers.attention import Attention
from seqsuite.models.mixers.s4 import S4
from seqsuite.models.mixers.s4d import S4D
from seqsuite.models.mixers.s6 import S6
from seqsuite.models.sequence_model import LanguageModel, SequenceModel

MOST_PARAMETERS = 1 << 20
"""Of larger models a page would be slow to open and to run."""


class _Weights:
    """Tensors one after the other; each is known by where it starts and its shape."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._length = 0

    def put(self, tensor: Tensor | None) -> dict[str, Any] | None:
        """Take a tensor in, and return what stands for it in a description."""
        if tensor is None:
            return None
        values = tensor.detach().to("cpu", torch.float32).flatten()
        at, self._length = self._length, self._length + len(values)
        self._parts.append(values)
        return {"at": at, "shape": list(tensor.shape)}

    def encoded(self) -> str:
        """Return all numbers as little-endian float32 in base64."""
        return base64.b64encode(torch.cat(self._parts).numpy().astype("<f4").tobytes()).decode()


def portable(model: SequenceModel) -> dict[str, Any] | None:
    """Return a model as plain data, or ``None`` if it is larger or of other parts than a page can run.

    Those are models of tokens up to :data:`MOST_PARAMETERS`, of one width, whose blocks are ``mamba``,
    ``none`` or ``transformer`` with S6 of a real A and a selective Δ, S4, S4D or full attention inside,
    rotary or not: the models mamba, s4, s4d, transformer, transformer++ and hybrid as they are, and mixtures
    of their parts.

    Returns:
        ``weights``, float32 numbers in base64; ``embedding``, ``positions`` (or ``None``), ``norm``,
        ``head``, and ``layers``, each with ``block`` and ``mixer``, and their parameters. A tensor is an
        object of ``at``, its first number's place, and ``shape``.
    """
    if (
        model.num_parameters() > MOST_PARAMETERS
        or not isinstance(model.blocks, Isotropic)
        or not isinstance(model.embedding, nn.Embedding)
    ):
        return None
    weights = _Weights()
    layers = [_block(block, weights) for block in model.blocks.layers()]
    if any(layer is None for layer in layers):
        return None
    embedding = weights.put(model.embedding.weight)
    tied = isinstance(model, LanguageModel) and model.tied
    positions = model.position_embedding
    described = {
        "layers": layers,
        "embedding": embedding,
        "positions": None if positions is None else weights.put(positions.weight),
        "norm": _norm(model.norm, weights),
        "head": embedding if tied else weights.put(model.head.weight),
    }
    return {**described, "weights": weights.encoded()}


def _block(block: Block, weights: _Weights) -> dict[str, Any] | None:
    mixer = _mixer(block.mixer, weights)
    if mixer is None:
        return None
    if isinstance(block, MambaBlock):
        return {
            "block": "mamba",
            "mixer": mixer,
            "norm": _norm(block.norm, weights),
            "in_proj": _linear(block.in_proj, weights),
            "conv_weight": weights.put(block.conv_weight),
            "conv_bias": weights.put(block.conv_bias),
            "out_proj": _linear(block.out_proj, weights),
        }
    if isinstance(block, PlainBlock):
        projections = {"out_proj": _linear(block.out_proj, weights)}
        return {"block": "plain", "mixer": mixer, "norm": _norm(block.norm, weights), **projections}
    if isinstance(block, TransformerBlock):
        return {
            "block": "transformer",
            "mixer": mixer,
            "mixer_norm": _norm(block.mixer_norm, weights),
            "mlp_norm": _norm(block.mlp_norm, weights),
            "gated": block.mlp.gated,
            "up_proj": _linear(block.mlp.up_proj, weights),
            "down_proj": _linear(block.mlp.down_proj, weights),
        }
    return None


def _mixer(mixer: Mixer, weights: _Weights) -> dict[str, Any] | None:
    if isinstance(mixer, S6):
        return _s6(mixer, weights)
    if isinstance(mixer, S4):
        return _s4(mixer, weights)
    if isinstance(mixer, S4D):
        return _s4d(mixer, weights)
    if isinstance(mixer, Attention) and mixer.window is None and mixer.positions in ("rotary", "none"):
        return {
            "mixer": "attention",
            "n_heads": mixer.n_heads,
            "n_kv_heads": mixer.n_kv_heads,
            "rotary_base": mixer.rotary_base if mixer.turning else None,
            "qkv": _linear(mixer.qkv, weights),
            "out_proj": _linear(mixer.out_proj, weights),
        }
    return None


def _s6(mixer: S6, weights: _Weights) -> dict[str, Any] | None:
    """Return S6 of a real A whose Δ is selective; a B or C that is not, (D, N), stands for itself."""
    if mixer.complex or mixer.x_proj is None or not mixer.dt_rank:
        return None
    if not is_plain_linear(mixer.x_proj, mixer.dt_proj):
        return None
    return {
        "mixer": "s6",
        "x_proj": weights.put(mixer.x_proj.weight),
        "dt_proj": weights.put(mixer.dt_proj.weight),
        "dt_bias": weights.put(mixer.dt_proj.bias),
        "A": weights.put(-torch.exp(mixer.A_log)),
        "B": weights.put(mixer.B),
        "C": weights.put(mixer.C),
        "D": weights.put(mixer.D),
    }


def _s4(mixer: S4, weights: _Weights) -> dict[str, Any]:
    """Return S4 with its Λ (``A``), P, B and C as pairs of real and imaginary parts."""
    pairs = {name: getattr(mixer, name).unbind(-1) for name in ("P", "B", "C")}
    return {
        "mixer": "s4",
        "delta": weights.put(torch.exp(mixer.log_dt)),
        "A": weights.put(-torch.exp(mixer.A_real_log)),
        "A_imag": weights.put(mixer.A_imag),
        **{name: weights.put(real) for name, (real, _) in pairs.items()},
        **{f"{name}_imag": weights.put(imaginary) for name, (_, imaginary) in pairs.items()},
        "D": weights.put(mixer.D),
    }


def _s4d(mixer: S4D, weights: _Weights) -> dict[str, Any]:
    """Return S4D with its A and C as pairs of real and imaginary parts; of a real A there are none."""
    A = -torch.exp(mixer.A_real_log)
    C = torch.view_as_complex(mixer.C.detach().float()) if mixer.complex_state else mixer.C
    return {
        "mixer": "s4d",
        "delta": weights.put(torch.exp(mixer.log_dt)),
        "A": weights.put(A),
        "A_imag": weights.put(mixer.A_imag) if mixer.complex_state else None,
        "C": weights.put(C.real if mixer.complex_state else C),
        "C_imag": weights.put(C.imag) if mixer.complex_state else None,
        "D": weights.put(mixer.D),
    }


def _linear(linear: nn.Linear, weights: _Weights) -> dict[str, Any]:
    return {"weight": weights.put(linear.weight), "bias": weights.put(linear.bias)}


def _norm(norm: nn.Module, weights: _Weights) -> dict[str, Any]:
    assert isinstance(norm, (nn.RMSNorm, nn.LayerNorm))
    bias = norm.bias if isinstance(norm, nn.LayerNorm) else None
    return {
        "eps": norm.eps,
        "centred": isinstance(norm, nn.LayerNorm),
        "weight": weights.put(norm.weight),
    } | {"bias": weights.put(bias)}
