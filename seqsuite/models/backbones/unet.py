"""The multi-stage backbone for audio: fine stages around coarse ones (SaShiMi, arXiv 2202.09729)."""

import torch
from torch import Tensor, nn

from seqsuite.kernels.packing import PaddedBatches
from seqsuite.models.backbones.base import MAIN, Backbone, MakeBlock, States
from seqsuite.models.backbones.isotropic import Isotropic
from seqsuite.models.base import Block
from seqsuite.options import PositiveInt


class UNet(Backbone):
    """Blocks, pooling, an inner backbone at a lower rate, unpooling, a skip, and blocks again.

    ``pool`` positions become one frame of the inner backbone, which is a stage of the same kind, or the
    centre. A frame is complete at its last position, so what the inner backbone makes of it is added to the
    ``pool`` positions after it: no output sees a later input. Step by step the inner backbone runs at every
    ``pool``-th position only.

    Args:
        d_model: Width D of the outermost stage.
        n_layer: Blocks a stage: on the way down, in the centre, and on the way up.
        make_block: Makes a block of a kind and a width.
        stages: Number of poolings; there are 2 · stages + 1 stages in all.
        pool: Positions a frame.
        expand: How many times wider each stage is than the one outside of it.
        outer: Kind of the blocks outside of the centre: ``main``, an entry of ``model.layers`` or a model.
        centre: Kind of the blocks in the centre.
    """

    def __init__(
        self,
        d_model: int,
        n_layer: int,
        make_block: MakeBlock,
        stages: PositiveInt = 2,
        pool: PositiveInt = 16,
        expand: PositiveInt = 2,
        outer: str = MAIN,
        centre: str = MAIN,
    ) -> None:
        super().__init__()
        self.d_model, self.pool = d_model, pool
        width = expand * d_model
        self.down = Isotropic(d_model, n_layer, make_block, (outer,))
        self.to_frame = nn.Linear(pool * d_model, width)
        self.inner: Backbone = (
            Isotropic(width, n_layer, make_block, (centre,))
            if stages == 1
            else UNet(width, n_layer, make_block, stages - 1, pool, expand, outer, centre)
        )
        self.from_frame = nn.Linear(width, pool * d_model)
        self.up = Isotropic(d_model, n_layer, make_block, (outer,))

    def forward(
        self, x: Tensor, states: States | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, States | None]:
        """See :meth:`Backbone.forward`.

        Raises:
            ValueError: if packed sequences come with states: they would stand at different places of a frame.
        """
        if cu_seqlens is not None:
            if states is not None:
                raise ValueError("unet carries no state for packed sequences: feed them one by one")
            batches = PaddedBatches.of(cu_seqlens, x.shape[1], x.device)
            return batches.join([self.forward(part)[0] for part in batches.split(x)]), None
        if x.shape[1] == 0:
            return x, states
        frames = self._initial_frames(x.shape[0], x.device, x.dtype)
        down = inner = up = None
        if states is not None:
            down, (frames,), inner, up = self._split(states)
        x, down = self.down(x, down)
        pending, held = frames["pending"], frames["held"]
        waiting = torch.cat([pending.to(x.dtype), x], dim=1)
        complete = waiting.shape[1] // self.pool
        framed, rest = waiting[:, : complete * self.pool], waiting[:, complete * self.pool :]
        framed = framed.reshape(len(x), complete, self.pool * self.d_model)
        y, inner = self.inner(self.to_frame(framed), inner)
        spread = self.from_frame(y).reshape(len(x), complete * self.pool, self.d_model)
        spread = torch.cat([held.to(x.dtype), spread], dim=1)
        place = pending.shape[1]  # of the chunk's first position in its frame
        x, up = self.up(x + spread[:, place : place + x.shape[1]], up)
        if down is None or inner is None or up is None:
            return x, None
        after = {"pending": rest, "held": spread[:, spread.shape[1] - self.pool :]}
        return x, (*down, after, *inner, *up)

    def step(self, x_t: Tensor, states: States) -> tuple[Tensor, States]:
        """See :meth:`Backbone.step`."""
        down, (frames,), inner, up = self._split(states)
        x_t, down = self.down.step(x_t, down)
        pending, held = frames["pending"], frames["held"]
        before = held[:, pending.shape[1]].to(x_t.dtype)
        pending = torch.cat([pending.to(x_t.dtype), x_t.unsqueeze(1)], dim=1)
        if pending.shape[1] == self.pool:
            y, inner = self.inner.step(self.to_frame(pending.flatten(1)), inner)
            held, pending = self.from_frame(y).reshape(len(x_t), self.pool, -1), pending[:, :0]
        x_t, up = self.up.step(x_t + before, up)
        return x_t, (*down, {"pending": pending, "held": held}, *inner, *up)

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> States:
        """Return the states of the blocks down, of the pooling, of the inner backbone, and of the blocks up.

        The pooling's are ``pending`` (B, 0 … pool − 1, D), what was seen of a frame, and ``held``
        (B, pool, D), what the last frame adds to this one's positions.
        """
        down, inner, up = (
            part.initial_state(batch_size, device=device, dtype=dtype)
            for part in (self.down, self.inner, self.up)
        )
        frames = self._initial_frames(batch_size, device, dtype or self.to_frame.weight.dtype)
        return (*down, frames, *inner, *up)

    def layers(self) -> list[Block]:
        """Return every block, from the first on the way down to the last on the way up."""
        return [*self.down.layers(), *self.inner.layers(), *self.up.layers()]

    def length_of(self, part: str, seqlen: int) -> int:
        """Return the number of frames for what works on them."""
        return seqlen // self.pool if part in ("to_frame", "inner", "from_frame") else seqlen

    @property
    def packed_state(self) -> bool:
        """No: packed sequences would stand at different places of a frame."""
        return False

    @property
    def num_states(self) -> int:
        """One a block, and one a pooling."""
        return self.down.num_states + 1 + self.inner.num_states + self.up.num_states

    def _initial_frames(
        self, batch_size: int, device: torch.device | None, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        pending = torch.zeros(batch_size, 0, self.d_model, device=device, dtype=dtype)
        held = torch.zeros(batch_size, self.pool, self.d_model, device=device, dtype=dtype)
        return {"pending": pending, "held": held}

    def _split(self, states: States) -> tuple[States, States, States, States]:
        """Return the states of the blocks down, the pooling, the inner backbone and the blocks up."""
        first, last = self.down.num_states, len(states) - self.up.num_states
        return states[:first], states[first : first + 1], states[first + 1 : last], states[last:]
