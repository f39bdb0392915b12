"""Where to compute."""

from typing import TYPE_CHECKING, Literal

from seqsuite.errors import UserError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
"""What users say: ``"auto"`` is a GPU if there is one."""


def choose_device(name: Device, setting: str = "run.device=cuda") -> "torch.device":
    """Return the device to compute on.

    Args:
        name: What is asked for.
        setting: How a GPU was asked for, for the message.

    Raises:
        UserError: if a GPU is asked for and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{setting} needs a GPU that PyTorch can use, and finds none: leave it out.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
