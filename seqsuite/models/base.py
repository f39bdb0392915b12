"""The contracts of the zoo: a mixer mixes along the sequence, a block wraps one with a residual.

For every mixer and block, one sequence gives the same numbers whichever way it is fed: whole, step by step,
cut into chunks with the state carried over, or packed with others (``cu_seqlens``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from seqsuite.kernels import ScanWeights
from seqsuite.kernels.mamba_decoder.weights import BlockWeights, Norm, SSDWeights
from seqsuite.models.split import split_peers

State = dict[str, Tensor]
"""What a layer must remember between chunks: named tensors, batch first. Never hidden in a module."""

Controls = tuple[Tensor, Tensor]
"""What a :class:`ControlledMixer` is told: the controls that were convolved, and those that were not."""


AXES = {
    "batch": "sequences",
    "position": "positions in a sequence",
    "query": "positions that look at others",
    "key": "positions that are looked at",
    "lag": "positions back from the present, which is 0",
    "channel": "channels D",
    "head": "heads H",
    "group": "groups G of heads",
    "state": "states N of a channel or a head",
}
"""What dimensions of inspected values can count."""


@dataclass(frozen=True, eq=False)
class Inspected:
    """Something that a mixer decides, as a page needs it for drawing.

    Attributes:
        values: The numbers, real or complex.
        axes: What each of their dimensions counts, by the names in :data:`AXES`.
        unit: What they are measured in, for the side of a scale; empty if they have no unit.

    Raises:
        ValueError: if there are not as many axes as dimensions, or one has another name.
    """

    values: Tensor
    axes: tuple[str, ...]
    unit: str = ""

    def __post_init__(self) -> None:
        if len(self.axes) != self.values.dim():
            raise ValueError(f"axes must name {self.values.dim()} dimensions, but are {self.axes}")
        if unknown := set(self.axes) - AXES.keys():
            raise ValueError(f"axes must be of {', '.join(AXES)}, not {', '.join(sorted(unknown))}")


class SequenceLayer(nn.Module, ABC):
    """A causal layer on ``(B, L, D)`` with an explicit state.

    A layer with parameters of its own, beside those of the modules in it, has ``reset_parameters``, which its
    constructor calls, so that a model built on the device ``"meta"`` can be given memory and values later.
    """

    no_weight_decay: ClassVar[frozenset[str]] = frozenset()
    """Names of the layer's own parameters that are exempt from weight decay. A mark on the parameters would
    be lost by ``deepcopy``, ``to_empty`` and FSDP2, which make new ones."""

    splits: ClassVar[bool] = False
    """Whether the layer computes parts of sequences that are split over processes: see :mod:`.split`. A block
    answers for what it does beside its mixer."""

    @abstractmethod
    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """Process whole sequences, or one chunk of each.

        Args:
            x: Inputs (B, L, D).
            state: State before the first position, from :meth:`initial_state` or an earlier call. With
                ``None`` the sequences start afresh and no state is returned: the training path.
            cu_seqlens: Offsets (S + 1,) of S sequences packed along L, from 0 to L; B must then be 1, and the
                batch dimension of a state is S.

        Returns:
            Outputs (B, L, D), and the state after the last position if ``state`` was given.
        """

    @abstractmethod
    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """Process one position ``x_t`` (B, D); return its output (B, D) and the next state."""

    @abstractmethod
    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the state before the first position."""

    @abstractmethod
    def state_size(self, seqlen: int) -> int:
        """Return how many numbers the state of one sequence holds after ``seqlen`` positions."""


class Mixer(SequenceLayer):
    """A layer that mixes along the sequence: the exchangeable core of a block.

    A subclass is one file and one line in the registry; its constructor takes ``d_model`` first, then, if it
    wants to know, the longest input as ``seqlen``, then its options as parameters with defaults.
    """

    packed_state: ClassVar[bool] = True
    """Whether packed sequences can start from a state and return one. A layer whose state grows cannot: the
    states of sequences of different lengths do not fit into one tensor."""

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return by name what the mixer decides at each position of whole sequences ``x`` (B, L, D).

        Such as step sizes, decays and states of a selective layer, the weights of attention, or the kernel of
        a convolution; a subclass says which. It is computed anew, so that layers that are not asked pay
        nothing. By default there is nothing to show. Of all mixers one name has one meaning: ``delta``,
        ``decay``, ``state``, ``B``, ``C``, ``beta``, ``weights``, ``kernel``, ``input`` and ``output``.
        """
        return {}

    def flops(self, seqlen: int) -> int:
        """Return the multiply-adds of a forward pass of one sequence beyond one a weight and position.

        Such as scores and sums of attention, a scan's states, a convolution's Fourier transforms. Counted is
        what the layer's definition takes, whichever way a kernel goes about it. By default none.
        """
        return 0

    def output_projection(self) -> nn.Linear | None:
        """Return the linear layer that the mixer's output comes from, ``None`` if it comes from none.

        A block that adds this output to the residual stream as it is initialises that layer smaller.
        """
        return None

    def check_packed_state(self, state: State | None) -> None:
        """Refuse a state for packed sequences, where the layer declares that it carries none.

        Raises:
            ValueError: if there is a state and ``packed_state`` is false.
        """
        if state is not None and not self.packed_state:
            raise ValueError(
                f"{type(self).__name__.lower()} carries no state for packed sequences: feed them one by one"
            )


class GatedMixer(Mixer):
    """A mixer that can multiply its output by silu(gate) within its own kernel."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        cu_seqlens: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        """Process whole sequences or chunks as any layer does; ``gate`` is (B, L, D)."""

    @abstractmethod
    def step(self, x_t: Tensor, state: State, gate: Tensor | None = None) -> tuple[Tensor, State]:
        """Process one position as any layer does; ``gate`` is (B, D)."""

    def scan_weights(self) -> ScanWeights | None:
        """Return the mixer's parameters if it is what the fused kernels of a Mamba block compute.

        That is: Δ, B and C projected from the input, a real A, and nothing else. ``None`` if it is not.
        """
        return None


class ControlledMixer(Mixer):
    """A mixer that is told at each position what to do by controls, which are linear in some input.

    On its own it projects them from its input. A block that projects them itself, beside what it mixes, calls
    :meth:`take_controls` and passes them in.

    Args:
        d_model: Width D.
        convolved: Number of controls that go through the block's short convolution, as the input does.
        plain: Number of controls that do not.
    """

    def __init__(self, d_model: int, *, convolved: int, plain: int) -> None:
        super().__init__()
        self.convolved, self.plain = convolved, plain
        self.control_proj: nn.Linear | None = nn.Linear(d_model, convolved + plain, bias=False)

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        cu_seqlens: Tensor | None = None,
        controls: Controls | None = None,
    ) -> tuple[Tensor, State | None]:
        """Process whole sequences or chunks as any layer does; ``controls`` is (B, L, …) each."""

    @abstractmethod
    def step(self, x_t: Tensor, state: State, controls: Controls | None = None) -> tuple[Tensor, State]:
        """Process one position as any layer does; ``controls`` is (B, …) each."""

    @abstractmethod
    def inspect(self, x: Tensor, controls: Controls | None = None) -> dict[str, Inspected]:
        """Return what the mixer decides as any mixer does; ``controls`` is (B, L, …) each."""

    def ssd_weights(self) -> SSDWeights | None:
        """Return the mixer's parameters if it is SSD and nothing else, which is what the decoder computes."""
        return None

    def take_controls(self) -> None:
        """Give up the mixer's own projection: controls come from the block from now on."""
        self.control_proj = None

    def controls_of(self, x: Tensor, controls: Controls | None) -> Controls:
        """Return the controls that were passed in, or those that the mixer projects from its input.

        Raises:
            ValueError: if they are neither passed in nor projected.
        """
        if controls is not None:
            return controls
        if self.control_proj is None:
            raise ValueError("this mixer's controls are projected by its block, and must be passed in")
        convolved, plain = self.control_proj(x).split([self.convolved, self.plain], dim=-1)
        return convolved, plain


class Block(SequenceLayer):
    """A mixer with what surrounds it: norm, gate, short convolution or MLP, and the residual.

    A subclass's constructor takes ``d_model``, a function from a width to a mixer, and a function from a
    width to a norm, then its options as parameters with defaults.

    Attributes:
        mixer: The mixer.
    """

    mixer: Mixer

    @abstractmethod
    def residual_outputs(self) -> list[nn.Linear]:
        """Return the linear layers that write to the residual stream: where a residual branch has one, it is
        initialised smaller the more branches the model has.
        """

    @property
    def residual_branches(self) -> int:
        """How many residual branches the block adds."""
        return 1

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return what :meth:`Mixer.inspect` shows, for whole inputs ``x`` (B, L, D) of the block.

        A subclass gives the mixer what it gives it in its forward. By default there is nothing to show.
        """
        return {}

    def decoder_weights(self) -> BlockWeights | None:
        """Return the block's parameters if it is what :mod:`seqsuite.kernels.mamba_decoder` computes."""
        return None


MakeMixer = Callable[[int], Mixer]
MakeNorm = Callable[[int], nn.Module]


def norm_weights(module: nn.Module) -> Norm | None:
    """Return what the kernels need of a norm, ``None`` if it is no RMSNorm with a weight and an epsilon."""
    if not isinstance(module, nn.RMSNorm) or module.eps is None or not module.elementwise_affine:
        return None
    return Norm(module.weight, module.eps)


def is_plain_linear(*modules: nn.Module | None) -> bool:
    """Return whether each module does what its weight and bias say, so that a kernel may read these.

    What quantisation or an adapter puts in the place of an ``nn.Linear`` does something else.
    """
    return all(isinstance(m, nn.Linear) and type(m).forward is nn.Linear.forward for m in modules)


def packed_positions(cu_seqlens: Tensor, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return for each of L packed positions which sequence it is of, and its place in that: both int64 (L,).

    Args:
        cu_seqlens: Offsets (S + 1,), int32 or int64; they may be on the host.
        length: L.
        device: Where the positions are wanted.
    """
    offsets = cu_seqlens.to(device, torch.int64)
    positions = torch.arange(length, device=device)
    sequence = torch.searchsorted(offsets, positions, right=True) - 1
    return sequence, positions - offsets[sequence]


def positions_of(x: Tensor, start: Tensor | None, cu_seqlens: Tensor | None) -> Tensor:
    """Return the place of each input (B, L, D) in its sequence, int64 (1 or B, L).

    Args:
        x: The inputs.
        start: How many positions each sequence has had before (B,), or (S,) if packed; ``None`` is none.
        cu_seqlens: Offsets (S + 1,) of packed sequences.
    """
    if cu_seqlens is None:
        peers = split_peers()
        first = 0 if peers is None else sum(peers.before)
        positions = torch.arange(first, first + x.shape[1], device=x.device).unsqueeze(0)
        return positions if start is None else positions + start.unsqueeze(1)
    sequence, positions = packed_positions(cu_seqlens, x.shape[1], x.device)
    return (positions if start is None else positions + start[sequence]).unsqueeze(0)


def longest_sequence(x: Tensor, cu_seqlens: Tensor | None) -> int:
    """Return the length of the longest sequence in inputs (B, L, D), packed or not."""
    return x.shape[1] if cu_seqlens is None else int(cu_seqlens.diff().max())


def run_packed(
    forward: Callable[[Tensor, State | None], tuple[Tensor, State | None]],
    x: Tensor,
    state: State | None,
    cu_seqlens: Tensor,
) -> tuple[Tensor, State | None]:
    """Run ``forward`` on each packed sequence by itself: the simplest way to pack, for mixers of one's own.

    Args:
        forward: The layer's computation on unpacked chunks.
        x: Packed inputs (1, L, D).
        state: State with batch dimension S, or ``None``.
        cu_seqlens: Offsets (S + 1,).

    Returns:
        Outputs (1, L, D), and the state with batch dimension S if one was given.
    """
    if x.shape[0] != 1:
        raise ValueError(f"with cu_seqlens, x must have batch size 1, got shape {tuple(x.shape)}")
    offsets = cu_seqlens.tolist()
    outputs: list[Tensor] = []
    states: list[State] = []
    for index, (start, end) in enumerate(pairwise(offsets)):
        before = None if state is None else {key: value[index : index + 1] for key, value in state.items()}
        y, after = forward(x[:, start:end], before)
        outputs.append(y)
        if after is not None:
            states.append(after)
    packed = None if state is None else {key: torch.cat([s[key] for s in states]) for key in state}
    return torch.cat(outputs, dim=1), packed
