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


class Norm(NamedTuple):
    """A root mean square norm: weight (M,) and epsilon."""

    weight: Tensor
    eps: float

    def named(self, name: str) -> dict[str, Tensor]:
        """Return the weight as ``name``, and epsilon (1,) as ``name_eps``."""
        return {name: self.weight, f"{name}_eps": self.weight.new_tensor([self.eps])}


@dataclass(frozen=True)
class BlockWeights(ABC):
    """The parameters that blocks of any kind have, of width M, D inside.

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
    def sizes(self) -> MambaSizes:
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


class ModelWeights(NamedTuple):
    """The parameters of a language model of Mamba blocks.

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
        ssm: the states, (B, D, N).
    """

    conv: Tensor
    ssm: Tensor
