"""Data parallel: every rank has the whole model (Li et al., 2020, arXiv 2006.15704)."""

from contextlib import AbstractContextManager, nullcontext

import torch.distributed as dist
from torch import Tensor, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from seqsuite.experiments.distributed.ranks import Ranks
from seqsuite.models.sequence_model import SequenceModel


class DataParallel(Ranks):
    """PyTorch's ``DistributedDataParallel``: gradients are summed while the backward pass goes on."""

    _wrapped: DistributedDataParallel

    def accumulating(self, last: bool) -> AbstractContextManager[None]:
        """See :meth:`Ranks.accumulating`."""
        return nullcontext() if last else self._wrapped.no_sync()

    def _place(self, model: SequenceModel) -> SequenceModel:
        return model

    def _wrap(self, forward: nn.Module) -> nn.Module:
        self._wrapped = DistributedDataParallel(
            forward, broadcast_buffers=False, gradient_as_bucket_view=True
        )
        self._wrapped.register_comm_hook(None, _sum)
        return self._wrapped


def _sum(_: object, bucket: dist.GradBucket) -> Future[Tensor]:  # type: ignore[name-defined]  # it is
    """Sum gradients, where DDP's own hook takes their mean: the loss is divided by all targets already."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    future: Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return future
