"""Options that users set by name, derived from the signatures of the classes that take them.

A task, mixer or block declares its options once: as constructor parameters with a type and a default. The
schema that validates ``task.length=…`` or ``model.mixer.d_state=…`` is built from that signature, so a new
layer needs no second file. Parameters without a default are supplied by the suite and are no options.
"""

import inspect
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from seqsuite.errors import UserError
from seqsuite.registry import Registry, describe_error

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _absolute(path: Path) -> Path:
    """Return a user's path from the root on, or say why there can be no such path."""
    if "\0" in str(path):
        raise ValueError("a path has no zero bytes")
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # ~nobody
        raise ValueError(f"{path.parts[0]} names no user of this machine") from error


UserPath = Annotated[Path, AfterValidator(_absolute)]
"""A file or folder of the user's, absolute so that it means the same from every working folder."""


def _no_moving_name(source: str) -> str:
    """Refuse what stands for another model tomorrow: it is part of the cell's identity."""
    if source == "latest":
        raise ValueError("say which run by its name or id: latest is another one after the next run")
    return source


RunName = Annotated[str, AfterValidator(_no_moving_name)]
"""A finished run, by its name or the beginning of its id."""


class Options(BaseModel):
    """A named choice (``task=dna``, ``model.mixer=s6``) with its options; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    options_of: ClassVar[Any] = None
    """The constructor whose options these are. A schema is made when it is first asked for and so cannot be
    imported: what is pickled is the constructor, which can."""

    name: str

    def arguments(self) -> dict[str, Any]:
        """Return the options as constructor arguments."""
        return self.model_dump(exclude={"name"})

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unfilled, (self.options_of,), self.__getstate__())


_SUPPLIED: dict[str, tuple[int, tuple[str, ...]]] = {
    "task": (0, ("seed",)),
    "mixer": (1, ("seqlen",)),
    "block": (3, ()),
    "backbone": (3, ()),
}
"""What the suite gives a constructor, by the registry's kind: the first so many arguments, and by name."""


def path_of(target: Any) -> str:
    """Return what a constructor is called, such as ``"my_module.MyTask"``."""
    named = hasattr(target, "__module__") and hasattr(target, "__qualname__")
    return f"{target.__module__}.{target.__qualname__}" if named else repr(target)


@cache
def options_schema(target: Any) -> type[Options]:
    """Return the :class:`Options` subclass for the constructor (or function) ``target``.

    Raises:
        UserError: if an option has no annotation, or one that cannot be used.
    """
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        raise UserError(
            f"The annotations of {path_of(target)} cannot be read: {describe_error(error)}."
        ) from error
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not inspect.Parameter.empty:
            if name not in hints:
                raise UserError(
                    f"The option {name!r} of {path_of(target)} has no annotation: give it one, as in "
                    f"{name}: int = 3."
                )
            if name in Options.model_fields:
                raise UserError(
                    f"No option can be called {name!r}, as one of {path_of(target)} is: rename it."
                )
            fields[name] = (hints[name], parameter.default)
    try:
        schema = _schema(target, fields)
    except Exception as error:
        _check_each(target, fields)
        raise UserError(
            f"The options of {path_of(target)} cannot be read: {describe_error(error)}."
        ) from error
    schema.options_of = target
    return schema


def _schema(target: Any, fields: Mapping[str, Any]) -> type[Options]:
    return create_model(f"{target.__name__}Options", __base__=Options, **fields)


def _check_each(target: Any, fields: Mapping[str, Any]) -> None:
    """Complain about the option that no schema can be made of."""
    for name, field in fields.items():
        try:
            _schema(target, {name: field})
        except Exception as error:
            kind = inspect.formatannotation(field[0])
            raise UserError(
                f"The option {name!r} of {path_of(target)} cannot be set, as its type is {kind}: take "
                "a number, text, true or false, a Literal of names, a path, or a list of them."
            ) from error


def schema_of(registry: Registry[Any], name: str) -> type[Options]:
    """Return the schema of what a registry names.

    Raises:
        UserError: if the registry does not know the name, or its options cannot be used.
    """
    target = registry.load(name)
    if not callable(target):
        raise UserError(f"The {registry.kind} {name!r} is no class but a {type(target).__name__}: name one.")
    _check_supplied(registry.kind, name, target)
    return options_schema(target)


def _check_supplied(kind: str, name: str, target: Any) -> None:
    """Refuse a constructor that asks for what neither the suite gives nor a setting can."""
    if kind not in _SUPPLIED:
        return
    count, names = _SUPPLIED[kind]
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError) as error:
        raise UserError(f"The {kind} {name!r} has no signature that can be read: {error}.") from error
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in parameters[count:]:
        if (
            parameter.default is inspect.Parameter.empty
            and parameter.kind not in several
            and parameter.name not in names
        ):
            raise UserError(
                f"The option {parameter.name!r} of {path_of(target)}, the {kind} {name!r}, has no default: "
                f"give it one, as in {parameter.name}: int = 3."
            )


def _unfilled(target: Any) -> Options:
    """Return an instance of the schema for ``target`` that a pickle then gives its state."""
    schema = Options if target is None else options_schema(target)
    return schema.__new__(schema)


def named_options(registry: Registry[Any], value: Any) -> Options:
    """Validate ``{"name": …, **options}`` against the options of the class that the registry names.

    Raises:
        UserError: if the registry does not know the name.
        ValueError: if there is none.
        pydantic.ValidationError: if an option is unknown or has a wrong value.
    """
    if isinstance(value, Options):
        return value
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"a {registry.kind} is a table with a name, not {value!r}")
    return schema_of(registry, name).model_validate(value)
