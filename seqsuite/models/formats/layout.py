"""What a format calls the settings and the weights that we have too: one table, read in both directions."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from seqsuite.errors import UserError
from seqsuite.models.config import ModelConfig

_LARGEST = 1 << 31
"""More than any width or vocabulary has."""

Description = Mapping[str, Any]
"""The content of a ``config.json``."""


@dataclass(frozen=True)
class Setting:
    """One setting under both names.

    Attributes:
        theirs: Their key, dotted if it is in a table: ``"ssm_cfg.d_state"``.
        ours: Our key below ``model``: ``"mixer.d_state"``.
        default: Their value where the key is missing or ``"auto"``, or a function of the description.
    """

    theirs: str
    ours: str
    default: bool | int | float | Callable[[Description], int]


def _nothing(_: Description) -> Description:
    return {}


@dataclass(frozen=True)
class Layout:
    """How one format describes one kind of model, and what it calls its weights.

    Attributes:
        title: What the format is called in a sentence.
        kind: What all its models share, in our configuration.
        settings: The settings that they and we have.
        fixed: Their keys that our layers know only some values of; a missing key stands for the first.
        weights: Our names of the weights, and theirs; ``{i}`` is the number of a block.
        explicit: Replaces what our configuration leaves to our layers (``"auto"``) by numbers.
        derived: Returns their keys that follow from the others, for a description without them.
        ignored: Their keys that change no number, dotted; any other key is refused. ``None`` if a description
            holds much besides the model, and only the known keys are looked at.
        kept: Their keys that change no number here but may elsewhere, and what Hugging Face calls them; they
            are written again.
        initial: Our keys that only say where sizes and initial values came from, which no file needs to know.
    """

    title: str
    kind: Mapping[str, Any]
    settings: tuple[Setting, ...]
    fixed: Mapping[str, tuple[Any, ...]]
    weights: Mapping[str, str]
    explicit: Callable[[ModelConfig], ModelConfig]
    derived: Callable[[Description], Description] = _nothing
    ignored: frozenset[str] | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    initial: frozenset[str] = frozenset({"name", "size", "mixer.A_init"})

    def read(self, description: Description) -> ModelConfig:
        """Return the configuration of the model that ``description`` is of.

        Raises:
            UserError: if one of its keys has a value that we have no layer for.
        """
        for key, known in self.fixed.items():
            value = _get(description, key, known[0])
            if value not in known:
                raise UserError(f"{self.title} with {key}={value!r} has no layer here.")
        if self.ignored is not None:
            known_keys = {setting.theirs for setting in self.settings} | self.fixed.keys() | self.ignored
            known_keys |= self.kept.keys()
            for key, value in _flat(description):
                if key not in known_keys:
                    raise UserError(f"{self.title} with {key}={value!r} has no layer here.")
        ours: dict[str, Any] = {}
        for key, value in _flat(self.kind):
            _put(ours, key, value)
        for setting in self.settings:
            _put(ours, setting.ours, self._value(setting, description))
        try:
            return ModelConfig.model_validate(ours)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"]))
            theirs = next((setting.theirs for setting in self.settings if setting.ours == key), key)
            reason = first["msg"].partition("\n")[0].replace("Input", "it", 1)
            raise UserError(
                f"{self.title} with {theirs}={first['input']!r} cannot be read: {reason}."
            ) from error

    def rest(self, description: Description) -> dict[str, Any]:
        """Return what ``description`` says besides the layers, under Hugging Face's names."""
        missing = object()
        found = {name: _get(description, key, missing) for key, name in self.kept.items()}
        return {name: value for name, value in found.items() if _is_plain(value)}

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """Return the description of a model of ours.

        Raises:
            UserError: if the format cannot say what ``config`` does.
        """
        ours = dict(_flat(self.explicit(config).model_dump(mode="json")))
        description: dict[str, Any] = {}
        for setting in self.settings:
            if setting.ours in ours:
                _put(description, setting.theirs, ours[setting.ours])
        said = dict(_flat(self.read(description).model_dump(mode="json")))
        for key, value in ours.items():
            if key not in self.initial and said.get(key) != value:
                raise UserError(
                    f"A model with {key}={value} cannot be saved: {self.title} has no such layer."
                )
        return description | dict(self.derived(description))

    def name_of(self, weight: str) -> str:
        """Return what the format calls our ``weight``.

        Raises:
            UserError: if it has no such weight.
        """
        block = re.match(r"blocks\.(\d+)\.", weight)
        general = weight if block is None else weight.replace(block[0], "blocks.{i}.", 1)
        if general not in self.weights:
            raise UserError(
                f"A model with the weight {weight} cannot be saved: {self.title} has no such layer."
            )
        return self.weights[general].format(i=block and block[1])

    def _value(self, setting: Setting, description: Description) -> bool | int | float:
        default = setting.default(description) if callable(setting.default) else setting.default
        value = _get(description, setting.theirs, default)
        value = default if value == "auto" else value
        if isinstance(value, float) and value.is_integer() and isinstance(default, int):
            value = int(value)
        if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
            kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
            raise UserError(
                f"{self.title} with {setting.theirs}={value!r} cannot be read: it must be {kind}."
            )
        return value


def whole_number(title: str, description: Description, key: str, default: int | None = None) -> int:
    """Return a key's value, a whole number above zero.

    Raises:
        UserError: if it is none, or missing without a default.
    """
    value = description.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LARGEST:
        what = "is not said" if value is None else f"{value!r} is no whole number above zero that can be used"
        raise UserError(f"{title} cannot be read: its {key} {what}.")
    return value


def _is_plain(value: Any) -> bool:
    """Return whether a value is a number, a text or nothing, or a list of such."""
    scalar = (bool, int, float, str, type(None))
    return all(isinstance(part, scalar) for part in (value if isinstance(value, list) else [value]))


def _get(table: Description, key: str, default: Any) -> Any:
    value: Any = table
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return default
        value = value[part]
    return value


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        table = table.setdefault(part, {})
    table[last] = value


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
