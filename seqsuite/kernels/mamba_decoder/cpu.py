"""The decoder on the CPU."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from seqsuite.kernels.llvm.jit import CompiledKernel, compile_kernel
from seqsuite.kernels.llvm.run import Argument, dtype_name, machine_words, worthwhile_threads
from seqsuite.kernels.llvm.target import host_target
from seqsuite.kernels.llvm.threads import launch
from seqsuite.kernels.mamba_decoder.cpu_kernel import PARAMETERS, Options, build_decoder, decoder_scratch
from seqsuite.kernels.mamba_decoder.weights import BlockState, BlockWeights, ModelWeights

# Products below which a second thread takes longer to wake than it saves.
PRODUCTS_PER_THREAD = 1 << 20


class MambaDecoder:
    """A Mamba or Mamba-2 language model at work on B sequences, a token of each at a time.

    The states change in place; those that it starts from are copied. The weights are read where they are, but
    for small ones, which are copied: after an update the model needs a new decoder. One step at a time: steps
    share memory to work in.

    Args:
        weights: The model, in float32 or float64, all blocks of one kind and of the same sizes.
        states: The blocks' states to start from.
    """

    def __init__(self, weights: ModelWeights, states: Sequence[BlockState]) -> None:
        head = weights.head.detach().contiguous()
        self.vocab_size, self.batch_size = head.shape[0], states[0].conv.shape[0]
        self._states = [
            BlockState(*(t.detach().to(head.dtype, copy=True).contiguous() for t in state))
            for state in states
        ]
        options = Options(dtype_name(head.dtype), self.vocab_size, weights.blocks[0].sizes)
        lanes = host_target().vector_bytes // head.dtype.itemsize
        scratch_size = decoder_scratch(options, lanes).size(0)
        blocks = [
            _prepare(block, state, options.table)
            for block, state in zip(weights.blocks, self._states, strict=True)
        ]
        self._kernel = decoder_kernel(options)
        products = self.batch_size * sum(tensor.numel() for tensor in weights.tensors())
        self._threads = min(self.batch_size, worthwhile_threads(products, PRODUCTS_PER_THREAD))
        arguments: dict[str, Argument] = {
            "sequences": self.batch_size,
            "n_layer": len(blocks),
            "layers": torch.tensor([[t.data_ptr() for t in tensors] for tensors in blocks]),
            "scratch": head.new_empty(self._threads * scratch_size),
            "scratch_size": scratch_size,
            "embedding": weights.embedding.detach().contiguous(),
            **{name: t.detach().contiguous() for name, t in weights.norm.named("norm").items()},
            "head": head,
        }
        *constant, _, _ = PARAMETERS  # the tokens and the logits change
        self._words = machine_words(arguments, constant)
        self._head, self._kept_alive = head, (arguments, blocks)

    def step(self, tokens: Tensor) -> Tensor:
        """Take the next token of each sequence (B,), int64; return the logits of those that follow, (B, V).

        Raises:
            ValueError: the tokens have another shape or dtype.
            IndexError: one is not in the vocabulary.
        """
        if tokens.shape != (self.batch_size,) or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be int64 of shape ({self.batch_size},), "
                f"not {dtype_name(tokens.dtype)} of shape {tuple(tokens.shape)}"
            )
        tokens = tokens.contiguous()
        values = tokens.tolist()
        if min(values) < 0 or max(values) >= self.vocab_size:
            raise IndexError(f"tokens must be from 0 to {self.vocab_size - 1}, but are {values}")
        logits = self._head.new_empty((self.batch_size, self.vocab_size))
        launch(self._kernel.address, [*self._words, tokens.data_ptr(), logits.data_ptr()], self._threads)
        return logits

    def states(self) -> list[BlockState]:
        """Return copies of the blocks' states."""
        return [BlockState(state.conv.clone(), state.ssm.clone()) for state in self._states]


@cache
def decoder_kernel(options: Options) -> CompiledKernel:
    """Return the kernel for these options, compiled when it is first asked for."""
    return compile_kernel(build_decoder(options, host_target()))


def _prepare(block: BlockWeights, state: BlockState, table: tuple[str, ...]) -> list[Tensor]:
    """Return what the kernel's table lists for a block; biases that there are none of are zero."""

    def bias(given: Tensor | None, weight: Tensor) -> Tensor:
        return weight.new_zeros(weight.shape[0]) if given is None else given

    tensors = {
        **block.norm.named("norm"),
        "in_proj": block.in_proj,
        "in_bias": bias(block.in_bias, block.in_proj),
        "conv_weight": block.conv_weight.t(),
        "conv_bias": bias(block.conv_bias, block.conv_weight),
        **block.inside(),
        "out_proj": block.out_proj,
        "out_bias": bias(block.out_bias, block.out_proj),
        **state._asdict(),
    }
    return [tensors[name].detach().contiguous() for name in table]
