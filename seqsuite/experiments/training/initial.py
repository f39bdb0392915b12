"""Starting from a pretrained model: its embedding, backbone and last norm, with a fresh head."""

import torch
from torch import Tensor

from seqsuite.errors import UserError
from seqsuite.experiments.sources import open_source
from seqsuite.models.pretrained import from_pretrained
from seqsuite.models.sequence_model import SequenceModel

_HEAD = "head."
_NAMED = 3


def load_backbone(model: SequenceModel, source: str, experiment: str) -> None:
    """Give ``model`` the parameters of a pretrained language model, all but the head's.

    Args:
        model: The model to train.
        source: A finished run's name or the beginning of its id, a folder, or a name on the hub.
        experiment: MLflow experiment that the run is in.

    Raises:
        UserError: if there is no such model, or a parameter of one is not in the other or has another shape:
            they are named.
    """
    with open_source(source, experiment) as found:
        weights = _without_head(from_pretrained(found.folder))
    own = _without_head(model)
    wrong = [
        f"{name} is {_shape(weights.get(name))} there and {_shape(own.get(name))} here"
        for name in dict.fromkeys([*own, *weights])
        if _shape(own.get(name)) != _shape(weights.get(name))
    ]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise UserError(
            f"train.init={source} is of another shape than the model: {'; '.join(wrong[:_NAMED])}{more}. "
            "Give the model the same model.* settings."
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])


def _without_head(model: SequenceModel) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if not name.startswith(_HEAD)}


def _shape(value: Tensor | None) -> str:
    return "absent" if value is None else str(tuple(value.shape))
