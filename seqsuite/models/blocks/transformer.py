"""The Transformer block: a mixer, then a feed-forward layer, each behind a norm and beside a residual."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.models.base import Block, MakeMixer, MakeNorm, State
from seqsuite.options import PositiveFloat


class TransformerBlock(Block):
    """norm → mixer, plus the residual; norm → MLP or SwiGLU, plus the residual.

    Args:
        d_model: Residual width D.
        make_mixer: Makes the mixer at width D.
        make_norm: Makes the norm at width D.
        mlp: ``"gelu"`` is the two-layer MLP, ``"swiglu"`` the gated one (arXiv 2002.05202).
        mlp_ratio: Hidden width over D; SwiGLU uses two thirds of it, for the same parameter count.
        bias: Whether the feed-forward layer has biases.
    """

    residual_branches = 2

    def __init__(
        self,
        d_model: int,
        make_mixer: MakeMixer,
        make_norm: MakeNorm,
        mlp: Literal["gelu", "swiglu"] = "gelu",
        mlp_ratio: PositiveFloat = 4.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.gated = mlp == "swiglu"
        hidden = round(d_model * mlp_ratio * (2 / 3 if self.gated else 1))
        self.mixer_norm, self.mlp_norm = make_norm(d_model), make_norm(d_model)
        self.mixer = make_mixer(d_model)
        self.up_proj = nn.Linear(d_model, hidden * (2 if self.gated else 1), bias=bias)
        self.down_proj = nn.Linear(hidden, d_model, bias=bias)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        y, state = self.mixer(self.mixer_norm(x), state, cu_seqlens)
        return self._feed_forward(x + y), state

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        y, state = self.mixer.step(self.mixer_norm(x_t), state)
        return self._feed_forward(x_t + y), state

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the mixer's state."""
        return self.mixer.initial_state(batch_size, device=device, dtype=dtype)

    def state_size(self, seqlen: int) -> int:
        """Return the mixer's state size."""
        return self.mixer.state_size(seqlen)

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the mixer's out-projection, where it has one, and the feed-forward layer's."""
        mixer_output = getattr(self.mixer, "out_proj", None)
        return [self.down_proj, *([mixer_output] if isinstance(mixer_output, nn.Linear) else [])]

    def _feed_forward(self, x: Tensor) -> Tensor:
        hidden = self.up_proj(self.mlp_norm(x))
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            hidden = F.silu(gate) * hidden
        else:
            hidden = F.gelu(hidden)
        out: Tensor = self.down_proj(hidden)
        return x + out
