"""Named models: each is a choice of block, mixer and backbone options, all of which users may override."""

from typing import Any

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean


def mamba() -> dict[str, Any]:
    """Mamba: selective SSM (S6) in the gated Mamba block, RMSNorm."""
    return {"block": {"name": "mamba"}, "mixer": {"name": "s6"}, "norm": "rms"}


def mamba2() -> dict[str, Any]:
    """Mamba-2: SSD in a block with a single projection and a gated norm, RMSNorm (arXiv 2405.21060)."""
    return {"block": {"name": "mamba2"}, "mixer": {"name": "ssd"}, "norm": "rms"}


def s4() -> dict[str, Any]:
    """S4: time-invariant SSM, diagonal plus low rank from HiPPO-LegS, in a plain residual block."""
    return {"block": {"name": "none"}, "mixer": {"name": "s4"}, "norm": "layer"}


def s4d() -> dict[str, Any]:
    """S4D: time-invariant SSM with a complex diagonal A (S4D-Lin), in a plain residual block."""
    return {"block": {"name": "none"}, "mixer": {"name": "s4d"}, "norm": "layer"}


def h3() -> dict[str, Any]:
    """H3: a diagonal SSM between two gates, with a shift SSM on the keys, and an MLP (arXiv 2212.14052)."""
    return {"block": {"name": "h3"}, "mixer": {"name": "s4d"}, "norm": "layer"}


def hyena() -> dict[str, Any]:
    """Hyena: an implicit long convolution between two gates, order 2, and an MLP (arXiv 2302.10866)."""
    return {
        "block": {"name": "h3", "d_shift": 3, "convolved": "all"},
        "mixer": {"name": "hyena"},
        "norm": "layer",
    }


def retnet() -> dict[str, Any]:
    """RetNet: gated multi-scale retention and an MLP of twice the width (arXiv 2307.08621)."""
    return {
        "block": {"name": "transformer", "mlp_ratio": 2.0},
        "mixer": {"name": "retention"},
        "norm": "layer",
    }


def gated_deltanet() -> dict[str, Any]:
    """Gated DeltaNet: the gated delta rule and SwiGLU, RMSNorm (arXiv 2412.06464)."""
    return {
        "block": {"name": "transformer", "mlp": "swiglu"},
        "mixer": {"name": "gated_delta"},
        "norm": "rms",
    }


def transformer() -> dict[str, Any]:
    """Transformer: causal attention with learned absolute positions and a GELU MLP, LayerNorm, biases."""
    return {
        "block": {"name": "transformer", "bias": True},
        "mixer": {"name": "attention", "positions": "none", "bias": True},
        "norm": "layer",
        "positions": "learned",
    }


def transformer_plus_plus() -> dict[str, Any]:
    """Transformer++: rotary positions, SwiGLU, RMSNorm, no biases (Mamba paper, section 4.2)."""
    return {
        "block": {"name": "transformer", "mlp": "swiglu"},
        "mixer": {"name": "attention", "positions": "rotary"},
        "norm": "rms",
    }


def hybrid() -> dict[str, Any]:
    """Hybrid: three Mamba blocks, then one of attention and SwiGLU, repeated."""
    attention = transformer_plus_plus()
    return {
        **mamba(),
        "backbone": {"name": "isotropic", "pattern": ["main*3", "attention"]},
        "layers": {"attention": {"block": attention["block"], "mixer": attention["mixer"]}},
    }


_DNA = {
    "250k": (4, 64),
    "700k": (5, 96),
    "1.4m": (6, 128),
    "3.5m": (7, 192),
    "7.0m": (8, 256),
    "19.3m": (10, 384),
    "40.7m": (12, 512),
}
"""Blocks and width of the paper's DNA models (Figure 5), by their rounded parameter counts; of those with an
MLP in each block. A Mamba block has none, so that Mamba has twice as many."""

_LANGUAGE = {"125m": (12, 768), "350m": (24, 1024), "760m": (24, 1536), "1.3b": (24, 2048)}
"""Blocks and width of the paper's language models (Figure 4), after GPT-3; Mamba has twice as many blocks."""

_HEADS = {"125m": 12, "350m": 16, "760m": 16, "1.3b": 32}
"""Attention heads of the language models."""

_PUBLISHED = {"130m": (24, 768), "370m": (48, 1024), "790m": (48, 1536), "1.4b": (48, 2048)}
"""Blocks and width of the published Mamba and Mamba-2 models, but the largest."""

_WITH_MLP = ("h3", "hyena", "retnet", "transformer", "transformer++")


def sizes(model: str) -> dict[str, dict[str, Any]]:
    """Return a model's named sizes, each with the settings it stands for; none for most models."""
    if model in _WITH_MLP:
        named = {name: _shape(*shape) for name, shape in (_DNA | _LANGUAGE).items()}
        if model.startswith("transformer"):
            for name, heads in _HEADS.items():
                named[name]["mixer"] = {"n_heads": heads}
        return named
    if model in ("mamba", "mamba2"):
        doubled = {name: _shape(2 * n_layer, width) for name, (n_layer, width) in (_DNA | _LANGUAGE).items()}
        largest = {"mamba": "2.8b", "mamba2": "2.7b"}[model]
        return (
            doubled
            | {name: _shape(*shape) for name, shape in _PUBLISHED.items()}
            | {largest: _shape(64, 2560)}
        )
    return {}


def size_settings(model: str, size: str) -> dict[str, Any]:
    """Return what ``model.size=SIZE`` stands for.

    Raises:
        UserError: if the model has no such size.
    """
    known = sizes(model)
    if size not in known:
        choice = f"choose from {', '.join(known)}" if known else "set model.d_model and model.n_layer"
        raise UserError(f"The model {model!r} has no size {size!r}: {choice}.{did_you_mean(size, known)}")
    return known[size]


def _shape(n_layer: int, d_model: int) -> dict[str, Any]:
    return {"n_layer": n_layer, "d_model": d_model}
