"""Calls recorded as CUDA graphs: what a GPU does in them is started at once, with no Python in between.

A graph does again exactly what it did when it was recorded, on the same memory. What is recorded must
therefore keep its shapes, change all that it changes in place, and never ask the GPU for a number. A call
that does is still right: it runs as any other, and says why in a sentence.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 3
"""Calls that run as any other before one is recorded: what is compiled or allocated once is then done."""

Outputs = tuple[Tensor, ...]
Call = Callable[..., Outputs]


class Recorder(Protocol):
    """What warms up and records a call."""

    def warm_up(self, call: Callable[[], Outputs]) -> Outputs:
        """Run a call as it will be recorded, and return what it returns."""

    def record(self, call: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        """Return the memory that a call writes its outputs to, and what replays it; nothing is computed yet.

        Raises:
            RuntimeError: the call does what a graph cannot.
        """


class CudaRecorder:
    """Records CUDA graphs.

    Args:
        generators: Random generators that the call draws from, beside PyTorch's own.
    """

    def __init__(self, generators: Iterable[torch.Generator] = ()) -> None:
        self._generators = tuple(generators)
        self._stream: torch.cuda.Stream | None = None

    def warm_up(self, call: Callable[[], Outputs]) -> Outputs:
        """See :meth:`Recorder.warm_up`. It runs on a stream of its own, as PyTorch asks for."""
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # untyped in PyTorch
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = call()
        torch.cuda.current_stream().wait_stream(self._stream)
        for output in outputs:
            output.record_stream(torch.cuda.current_stream())
        return outputs

    def record(self, call: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        """See :meth:`Recorder.record`. Other threads, such as one that prefetches, may go on meanwhile."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = call()
        return outputs, graph.replay


class GraphedCall:
    """A call on tensors that becomes a graph after a few times.

    The first calls run as any other, and count: a train step among them is taken. The next one is recorded,
    and replayed from then on. Calls with tensors of other shapes, such as a last batch that is not full, run
    as any other, beside the graph.

    Args:
        call: Takes tensors and returns a tuple of tensors; whatever else it changes, it changes in place.
        recorder: What records it.
        warm_up: How many calls come before the recording.

    Attributes:
        reason: Why calls are not replayed, in a sentence; empty as long as they are or may yet be.
        replays: How many calls were replayed.
    """

    def __init__(self, call: Call, recorder: Recorder, *, warm_up: int = WARM_UP) -> None:
        self._call, self._recorder, self._left = call, recorder, warm_up
        self._inputs: tuple[Tensor, ...] | None = None
        self._outputs: Outputs = ()
        self._replay: Callable[[], None] | None = None
        self.reason = ""
        self.replays = 0

    def __call__(self, *inputs: Tensor) -> Outputs:
        """Return the outputs; those of a replay are overwritten by the next one.

        Raises:
            RuntimeError: what the call itself raises.
        """
        if self.reason and self._replay is None:
            return self._call(*inputs)
        if self._inputs is None:
            self._inputs = tuple(torch.empty_like(tensor) for tensor in inputs)
        if not _alike(inputs, self._inputs):
            self.reason = (
                "Calls with tensors of other shapes than the first are not replayed as a CUDA graph."
            )
            return self._call(*inputs)
        for static, tensor in zip(self._inputs, inputs, strict=True):
            static.copy_(tensor, non_blocking=True)
        if self._left > 0:
            self._left -= 1
            static_inputs = self._inputs
            return self._recorder.warm_up(lambda: self._call(*static_inputs))
        if self._replay is None and not self._record():
            return self._call(*inputs)
        assert self._replay is not None
        self._replay()
        self.replays += 1
        return self._outputs

    def _record(self) -> bool:
        inputs = self._inputs
        assert inputs is not None
        try:
            self._outputs, self._replay = self._recorder.record(lambda: self._call(*inputs))
        except RuntimeError as error:  # of CUDA, and of PyTorch where it forbids what would break a graph
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            self.reason = f"The call cannot be recorded as a CUDA graph and runs without one: {first}"
            self._inputs = None
            return False
        return True


def _alike(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """Return whether tensors have the same shapes, dtypes and devices."""
    return len(some) == len(others) and all(
        a.shape == b.shape and a.dtype == b.dtype and a.device == b.device
        for a, b in zip(some, others, strict=True)
    )


class TrainStep:
    """A step of training that never waits for the GPU, for :class:`GraphedCall`: gradients, clipping, update.

    Learning rate, loss, norm and finiteness are tensors on the device; read them when they are logged.

    Args:
        loss: Computes the mean loss of a batch, a number, from its tensors.
        optimizer: Fused; its learning rates become tensors, set by :meth:`set_rate`.
        clip: Largest norm of all gradients together, or ``None``.
    """

    def __init__(
        self, loss: Callable[..., Tensor], optimizer: torch.optim.Optimizer, *, clip: float | None = None
    ) -> None:
        self._loss, self._optimizer = loss, optimizer
        self._limit = math.inf if clip is None else clip
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        make_capturable(optimizer)

    def __call__(self, *batch: Tensor) -> Outputs:
        """Take a step; return its loss, the gradients' norm before clipping, and whether both are finite."""
        # Without memory, gradients get that of the graph, which writes them anew at each replay.
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._loss(*batch)
        loss.backward()  # type: ignore[no-untyped-call]  # untyped in PyTorch
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._limit, foreach=True)
        self._optimizer.step()
        loss = loss.detach()
        return loss, norm, torch.isfinite(loss) & torch.isfinite(norm)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for group in self._optimizer.param_groups:
            group["lr"].fill_(rate)


def make_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Let a fused optimizer keep its learning rates, and count its steps, on the device of its parameters."""
    for group in optimizer.param_groups:
        device = group["params"][0].device if group["params"] else torch.device("cpu")
        if not isinstance(group["lr"], Tensor):
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if device.type == "cuda":
            group["capturable"] = True
    for parameter, state in optimizer.state.items():
        if "step" in state and isinstance(state["step"], Tensor):
            state["step"] = state["step"].to(parameter.device)


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records calls on a device, or ``None`` where there are no graphs."""
    return CudaRecorder() if device.type == "cuda" else None
