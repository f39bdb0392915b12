"""The feed-forward layer that blocks put behind their mixer."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Module):
    """Two linear layers with GELU between, or SwiGLU: (silu(a) ⊙ b) of one wider layer (arXiv 2002.05202).

    Args:
        d_model: Width D.
        kind: ``"gelu"`` or ``"swiglu"``.
        ratio: Hidden width over D; SwiGLU uses two thirds of it, for the same parameter count.
        bias: Whether the linear layers have biases.
    """

    def __init__(self, d_model: int, kind: Literal["gelu", "swiglu"], ratio: float, bias: bool) -> None:
        super().__init__()
        self.gated = kind == "swiglu"
        hidden = round(d_model * ratio * (2 / 3 if self.gated else 1))
        self.up_proj = nn.Linear(d_model, hidden * (2 if self.gated else 1), bias=bias)
        self.down_proj = nn.Linear(hidden, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output for x (…, D)."""
        hidden = self.up_proj(x)
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * hidden
        else:
            hidden = F.gelu(hidden)
        out: Tensor = self.down_proj(hidden)
        return out
