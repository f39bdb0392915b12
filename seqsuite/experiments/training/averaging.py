"""An exponential moving average of a model's weights."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The weights of a model averaged over its steps: each time ``decay`` of the old, the rest of the new.

    Args:
        model: The model; its average starts at its weights.
        decay: What remains of the average at each step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters: list[Tensor] = list(model.parameters())
        self._decay = decay
        self._average = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a further step into the average."""
        torch._foreach_lerp_(self._average, self._parameters, 1 - self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the context the model has the averaged weights."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self._set(self._average)
        try:
            yield
        finally:
            self._set(own)

    def state_dict(self) -> dict[str, Any]:
        """Return the model's own weights: a checkpoint has the average as the weights to use."""
        return {"own": [parameter.detach() for parameter in self._parameters]}

    def likes(self) -> dict[str, Tensor]:
        """Return the parameters that :meth:`state_dict` has entries of, by names such as ``own.3``."""
        return {f"own.{place}": parameter for place, parameter in enumerate(self._parameters)}

    def load_state_dict(self, state: Mapping[str, Any], cut: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Take the weights that the model has, as a checkpoint has them, as the average; restore its own.

        Args:
            state: What :meth:`state_dict` returned, of whole tensors or of such as are split already.
            cut: Returns of a whole tensor what belongs into another (see ``Placement.cut``).
        """
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._set([cut(own, like) for own, like in zip(state["own"], self._parameters, strict=True)])

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
