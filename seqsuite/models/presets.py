"""Named models: each is a choice of block, mixer and backbone options, all of which users may override."""

from typing import Any


def mamba() -> dict[str, Any]:
    """Mamba: selective SSM (S6) in the gated Mamba block, RMSNorm."""
    return {"block": {"name": "mamba"}, "mixer": {"name": "s6"}, "norm": "rms"}


def s4() -> dict[str, Any]:
    """S4: time-invariant SSM, diagonal plus low rank from HiPPO-LegS, in a plain residual block."""
    return {"block": {"name": "none"}, "mixer": {"name": "s4"}, "norm": "layer"}


def s4d() -> dict[str, Any]:
    """S4D: time-invariant SSM with a complex diagonal A (S4D-Lin), in a plain residual block."""
    return {"block": {"name": "none"}, "mixer": {"name": "s4d"}, "norm": "layer"}


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
