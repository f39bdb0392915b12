"""What the decoder is told of a model: the parameters of its blocks, their sizes, and their states."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from seqsuite.kernels.mamba_inner import ScanWeights


@dataclass(frozen=True)
class MambaSizes:
    """The sizes of a Mamba block.

    Attributes:
        d_model: width M of the residual stream.
        d_inner: width D inside.
        taps: K of the convolution.
        d_state: N.
        dt_rank: R.
    """

    d_model: int
    d_inner: int
    taps: int
    d_state: int
    dt_rank: int

    @property
    def projected(self) -> int:
        """Number of outputs of the in-projection: the input and the gate."""
        return 2 * self.d_inner

    @property
    def convolved(self) -> range:
        """Which of these outputs are convolved: the input."""
        return range(self.d_inner)

    @property
    def gate(self) -> int:
        """First of these outputs that is the gate."""
        return self.d_inner


@dataclass(frozen=True)
class Mamba2Sizes:
    """The sizes of a Mamba-2 block with SSD.

    Attributes:
        d_model: width M of the residual stream.
        d_inner: width D inside.
        taps: K of the convolution.
        d_state: N.
        n_heads: H.
        n_groups: groups G of heads that share B and C.
        norm_groups: groups of channels that the gated norm looks at by themselves.
    """

    d_model: int
    d_inner: int
    taps: int
    d_state: int
    n_heads: int
    n_groups: int
    norm_groups: int

    @property
    def projected(self) -> int:
        """Number of outputs of the in-projection: the gate, the input, B, C, and Δ of each head."""
        return self.convolved.stop + self.n_heads

    @property
    def convolved(self) -> range:
        """Which of these outputs are convolved: the input, B and C."""
        return range(self.d_inner, 2 * self.d_inner + 2 * self.n_groups * self.d_state)

    @property
    def gate(self) -> int:
        """First of these outputs that is the gate."""
        return 0


BlockSizes = MambaSizes | Mamba2Sizes


class Norm(NamedTuple):
    """A root mean square norm: weight (M,) and epsilon."""

    weight: Tensor
    eps: float

    def named(self, name: str) -> dict[str, Tensor]:
        """Return the weight as ``name``, and epsilon (1,) as ``name_eps``."""
        return {name: self.weight, f"{name}_eps": self.weight.new_tensor([self.eps])}


class SSDWeights(NamedTuple):
    """The parameters of SSD whose B, C and Δ are given to it.

    Attributes:
        A: (H,), negative.
        D: skip weight (H,).
        dt_bias: (H,), added to Δ before its softplus.
        n_groups: groups G of heads that share B and C.
    """

    A: Tensor
    D: Tensor
    dt_bias: Tensor
    n_groups: int


@dataclass(frozen=True)
class BlockWeights(ABC):
    """The parameters that blocks of both kinds have, of width M, D inside.

    Attributes:
        norm: norm of the block's input.
        in_proj, in_bias: (P, M) and (P,), for P = ``sizes.projected``.
        conv_weight, conv_bias: (E, K) and (E,), for E = ``len(sizes.convolved)``.
        out_proj, out_bias: (M, D) and (M,).
    """

    norm: Norm
    in_proj: Tensor
    in_bias: Tensor | None
    conv_weight: Tensor
    conv_bias: Tensor | None
    out_proj: Tensor
    out_bias: Tensor | None

    @property
    @abstractmethod
    def sizes(self) -> BlockSizes:
        """The block's sizes."""

    @abstractmethod
    def inside(self) -> dict[str, Tensor]:
        """Return by name the parameters that act between the convolution and the out-projection."""

    def tensors(self) -> list[Tensor]:
        """Return all parameters that are given."""
        others = (self.in_proj, self.in_bias, self.conv_weight, self.conv_bias, self.out_proj, self.out_bias)
        every = (self.norm.weight, *others, *self.inside().values())
        return [tensor for tensor in every if tensor is not None]


@dataclass(frozen=True)
class MambaWeights(BlockWeights):
    """The parameters of a Mamba block.

    Attributes:
        scan: the scan's parameters.
    """

    scan: ScanWeights

    @property
    def sizes(self) -> MambaSizes:
        """The block's sizes."""
        (d_inner, d_state), rank = self.scan.A.shape, self.scan.dt_proj.shape[1]
        return MambaSizes(self.in_proj.shape[1], d_inner, self.conv_weight.shape[1], d_state, rank)

    def inside(self) -> dict[str, Tensor]:
        """Return the scan's parameters."""
        return self.scan._asdict()


@dataclass(frozen=True)
class Mamba2Weights(BlockWeights):
    """The parameters of a Mamba-2 block with SSD.

    Attributes:
        ssd: the mixer's parameters.
        gated_norm: norm of the gated outputs, with a weight (D,).
        norm_groups: groups of channels that it looks at by themselves.
    """

    ssd: SSDWeights
    gated_norm: Norm
    norm_groups: int

    @property
    def sizes(self) -> Mamba2Sizes:
        """The block's sizes."""
        d_model, d_inner = self.out_proj.shape
        (convolved, taps), n_groups = self.conv_weight.shape, self.ssd.n_groups
        d_state = (convolved - d_inner) // (2 * n_groups)
        return Mamba2Sizes(d_model, d_inner, taps, d_state, len(self.ssd.A), n_groups, self.norm_groups)

    def inside(self) -> dict[str, Tensor]:
        """Return the parameters of the mixer and of the gated norm."""
        ssd = {"A": self.ssd.A, "D": self.ssd.D, "dt_bias": self.ssd.dt_bias}
        return ssd | self.gated_norm.named("gated_norm")


class ModelWeights(NamedTuple):
    """The parameters of a language model of Mamba or Mamba-2 blocks.

    Attributes:
        embedding: (V, M).
        blocks: the blocks' parameters, at least one's.
        norm: norm before the head.
        head: (V, M).
    """

    embedding: Tensor
    blocks: Sequence[BlockWeights]
    norm: Norm
    head: Tensor

    def tensors(self) -> list[Tensor]:
        """Return all parameters that are given."""
        own = [self.embedding, self.norm.weight, self.head]
        return own + [tensor for block in self.blocks for tensor in block.tensors()]


class BlockState(NamedTuple):
    """What a block remembers.

    Attributes:
        conv: the convolution's last inputs (B, K - 1, E).
        ssm: the states, (B, D, N) of a Mamba block, (B, H, D / H, N) of a Mamba-2 block.
    """

    conv: Tensor
    ssm: Tensor
