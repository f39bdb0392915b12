"""The plain block of the S4 line of work: no gate, no MLP."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.models.base import Block, Inspected, MakeMixer, MakeNorm, State


class PlainBlock(Block):
    """norm → mixer → GELU → gated linear unit, plus the residual (the S4 paper's block).

    The linear map after the mixer is what mixes channels: state space mixers treat each by itself.

    Args:
        d_model: Residual width D.
        make_mixer: Makes the mixer at width D.
        make_norm: Makes the norm at width D.
    """

    splits = True

    def __init__(self, d_model: int, make_mixer: MakeMixer, make_norm: MakeNorm) -> None:
        super().__init__()
        self.norm = make_norm(d_model)
        self.mixer = make_mixer(d_model)
        self.out_proj = nn.Linear(d_model, 2 * d_model)

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        y, state = self.mixer(self.norm(x), state, cu_seqlens)
        return x + F.glu(self.out_proj(F.gelu(y))), state

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        y, state = self.mixer.step(self.norm(x_t), state)
        return x_t + F.glu(self.out_proj(F.gelu(y))), state

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the mixer's state."""
        return self.mixer.initial_state(batch_size, device=device, dtype=dtype)

    def state_size(self, seqlen: int) -> int:
        """Return the mixer's state size."""
        return self.mixer.state_size(seqlen)

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """See :meth:`Block.inspect`."""
        return self.mixer.inspect(self.norm(x))

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the linear layer of the gated linear unit."""
        return [self.out_proj]
