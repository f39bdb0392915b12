"""Lazy name → object tables that plug-ins can extend through Python entry points."""

import difflib
import importlib
import sys
import traceback
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from seqsuite.declarations import Declaration, declaration
from seqsuite.errors import UserError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest of ``known``, or an empty string if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def describe_error(error: BaseException) -> str:
    """Return an exception of a plug-in as one clause: its type, what it says, and its file and line."""
    said = " ".join(str(error).split()).rstrip(".")
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and not _IMPORTING & {*Path(frame.filename).parts, frame.filename}
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames, said = [(error.filename, error.lineno)], error.msg
    where = f" ({frames[-1][0]}, line {frames[-1][1]})" if frames else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"


_IMPORTING = {__file__, "importlib", "importlib_metadata"}
"""Files and folders of the steps of an import, which are no part of a plug-in."""


@cache
def _plugins(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group; looking through all distributions on the path takes a while."""
    return tuple(entry_points(group=group))


class Registry(Generic[T]):
    """Maps names to ``"module:object"`` strings that stand for a ``T``, imported only when one is asked for.

    Other distributions add names by an entry point in ``group``, so that a plug-in is one class and one
    line in its ``pyproject.toml``. A built-in name cannot be replaced by a plug-in.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._group = group
        self._builtin = dict(builtin)

    def names(self) -> list[str]:
        """Return every known name: the built-in ones in their order, then the plug-ins' sorted."""
        plugins = {point.name for point in _plugins(self._group, tuple(sys.path))}
        return [*self._builtin, *sorted(plugins - self._builtin.keys())]

    def load(self, name: str) -> T:
        """Import and return the object called ``name``.

        Raises:
            UserError: if the name is unknown (the message lists what exists and suggests the nearest), or if
                a plug-in cannot be imported.
        """
        if isinstance(name, str) and name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            return cast(T, getattr(importlib.import_module(module), attribute))
        for point in _plugins(self._group, tuple(sys.path)):
            if point.name != name:
                continue
            try:
                return cast(T, point.load())
            except (Exception, SystemExit) as error:
                raise self._broken(name, point.value, error) from error
        known = self.names()
        raise UserError(
            f"Unknown {self.kind} {name!r}: choose from {', '.join(known)}.{did_you_mean(str(name), known)}"
        )

    def plugin_files(self, names: Iterable[str]) -> list[Path]:
        """Return the source files of those names that are plug-ins, sorted.

        Raises:
            UserError: if one cannot be imported.
        """
        plugins = {point.name for point in _plugins(self._group, tuple(sys.path))} - self._builtin.keys()
        modules = {getattr(self.load(name), "__module__", "") for name in plugins & set(names)}
        files = {getattr(sys.modules.get(module), "__file__", None) for module in modules}
        return sorted(Path(file) for file in files if file)

    def declaration(self, name: str) -> Declaration:
        """Return the summary and the options of the object called ``name``, without importing it if possible.

        Raises:
            UserError: as :meth:`load`.
        """
        targets = [self._builtin[name]] if name in self._builtin else []
        targets += [point.value for point in _plugins(self._group, tuple(sys.path)) if point.name == name]
        if not targets:
            self.load(name)  # says what there is
        try:
            return declaration(targets[0].replace(" ", ""))
        except (Exception, SystemExit) as error:
            raise self._broken(name, targets[0], error) from error

    def summary(self, name: str) -> str:
        """Return the first line of the object's docstring."""
        return self.declaration(name).summary

    def _broken(self, name: str, target: str, error: BaseException) -> UserError:
        why = describe_error(error)
        return UserError(f"The {self.kind} {name!r} is a plug-in that cannot be loaded from {target}: {why}")
