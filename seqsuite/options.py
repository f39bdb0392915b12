"""Options that users set by name, derived from the signatures of the classes that take them.

A task, mixer or block declares its options once: as constructor parameters with a type and a default. The
schema that validates ``task.length=…`` or ``model.mixer.d_state=…`` is built from that signature, so a new
layer needs no second file. Parameters without a default are supplied by the suite and are no options.
"""

import inspect
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from seqsuite.registry import Registry

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


@cache
def options_schema(target: Any) -> type[Options]:
    """Return the :class:`Options` subclass for the constructor (or function) ``target``."""
    function = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    schema: type[Options] = create_model(f"{target.__name__}Options", __base__=Options, **fields)
    schema.options_of = target
    return schema


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
    return options_schema(registry.load(name)).model_validate(value)
