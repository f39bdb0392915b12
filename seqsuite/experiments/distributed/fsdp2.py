"""Fully sharded: weights, gradients and the optimizer's state are split over ranks (arXiv 2304.11277)."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from seqsuite.experiments.config.schema import TrainConfig
from seqsuite.experiments.distributed.ranks import Ranks
from seqsuite.experiments.distributed.shards import Shards
from seqsuite.models.sequence_model import SequenceModel


class FullySharded(Ranks):
    """PyTorch's ``fully_shard``: each block's weights are gathered when it is computed, and let go after.

    They are gathered in float32, and mixed precision is autocast's, as on one process: the same numbers.
    """

    def __init__(self, device: torch.device, config: TrainConfig, parts: int) -> None:
        super().__init__(device, config, parts)
        self.shards = Shards()

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """See :meth:`Ranks.accumulating`: parts of gradients are summed at once, so that none is whole."""
        return nullcontext()

    def whole(self, value: Tensor) -> Tensor:
        """See :meth:`Ranks.whole`."""
        return value.full_tensor() if isinstance(value, DTensor) else value

    def cut(self, value: Tensor, like: Tensor) -> Tensor:
        """See :meth:`Ranks.cut`."""
        if not isinstance(like, DTensor) or isinstance(value, DTensor) or value.shape != like.shape:
            return value
        # Every rank has read the same file: nothing need be sent.
        return distribute_tensor(value.to(self.device), like.device_mesh, like.placements, src_data_rank=None)

    def _place(self, model: SequenceModel) -> SequenceModel:
        mesh = init_device_mesh(self.device.type, (self.world,))
        for module in (*model.blocks.layers(), model):
            # The whole model too: what it had gathered for an evaluation of averaged weights would be stale.
            sharded = fully_shard(module, mesh=mesh, reshard_after_forward=True)
            assert isinstance(sharded, FSDPModule)
            sharded.set_gradient_divide_factor(1.0)  # a sum: the loss is divided by all targets already
            sharded.set_force_sum_reduction_for_comms(True)  # and a plain one, which gloo has
        register_fsdp_forward_method(model, "prefill")
        return model

    def _wrap(self, forward: nn.Module) -> nn.Module:
        return forward
