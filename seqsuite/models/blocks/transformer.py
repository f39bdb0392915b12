"""The Transformer block: a mixer, then a feed-forward layer, each behind a norm and beside a residual."""

from typing import Literal

import torch
from torch import Tensor, nn

from seqsuite.models.base import Block, Inspected, MakeMixer, MakeNorm, State
from seqsuite.models.blocks.feed_forward import FeedForward
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

    splits = True

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
        self.mixer_norm, self.mlp_norm = make_norm(d_model), make_norm(d_model)
        self.mixer = make_mixer(d_model)
        self.mlp = FeedForward(d_model, mlp, mlp_ratio, bias)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        y, state = self.mixer(self.mixer_norm(x), state, cu_seqlens)
        x = x + y
        return x + self.mlp(self.mlp_norm(x)), state

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        y, state = self.mixer.step(self.mixer_norm(x_t), state)
        x_t = x_t + y
        return x_t + self.mlp(self.mlp_norm(x_t)), state

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the mixer's state."""
        return self.mixer.initial_state(batch_size, device=device, dtype=dtype)

    def state_size(self, seqlen: int) -> int:
        """Return the mixer's state size."""
        return self.mixer.state_size(seqlen)

    @property
    def residual_branches(self) -> int:
        """Two: the mixer's and the feed-forward layer's."""
        return 2

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """See :meth:`Block.inspect`."""
        return self.mixer.inspect(self.mixer_norm(x))

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the mixer's out-projection, where it has one, and the feed-forward layer's."""
        mixer_output = self.mixer.output_projection()
        return [self.mlp.down_proj] if mixer_output is None else [self.mlp.down_proj, mixer_output]
