"""The keys ``model.match…``: they say of a grid that its models shall be equal, and are not a cell's own."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from seqsuite.errors import UserError
from seqsuite.experiments.config.overrides import Overrides
from seqsuite.experiments.config.values import shown
from seqsuite.options import PositiveFloat
from seqsuite.registry import did_you_mean

Quantity = Literal["params", "state", "flops"]


class MatchConfig(BaseModel):
    """What is asked for; all of it under ``model.``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    match: Quantity | None = None
    """What the models of a grid shall have the same of, by a width of their own: parameters, bytes of state
    after the longest training sequence, or operations of a train step; or none."""
    match_to: str | None = None
    """Model that the others are matched to; by default the first of the grid."""
    match_within: PositiveFloat = 0.15
    """How far from its reference, as a part of that, a model may be; beyond that it is refused."""
    match_by: str = "d_model"
    """Option of a model that is chosen so: d_model, or another number, such as n_layer or mixer.d_state."""


_KEYS = {f"model.{name}": name for name in MatchConfig.model_fields}


def is_match_key(key: str) -> bool:
    """Return whether a dotted key is one of those here."""
    return key in _KEYS


def without_match(settings: Mapping[str, Any]) -> Overrides:
    """Return settings without these keys."""
    return {key: value for key, value in settings.items() if key not in _KEYS}


def match_of(settings: Mapping[str, Any]) -> MatchConfig:
    """Return what a cell's settings ask for.

    Raises:
        UserError: if a value cannot be used.
    """
    values = {name: settings[key] for key, name in _KEYS.items() if settings.get(key) is not None}
    try:
        return MatchConfig(**values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        value, known = shown(values[name]), get_args(Quantity)
        told = f"choose from {', '.join(known)}, or none" if name == "match" else "it is a name"
        told = "it is a number above 0" if name == "match_within" else told
        hint = did_you_mean(value, known) if name == "match" else ""
        raise UserError(f"model.{name}={value} cannot be used: {told}.{hint}") from None
