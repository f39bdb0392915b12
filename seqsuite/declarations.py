"""What a class declares — its summary and its options — read from its source, without importing it.

Importing a mixer imports PyTorch, which takes seconds: too long for a list of names, a completion or a table.
The source says the same. What cannot be read from it with certainty (an inherited or computed signature) is
imported after all, so that the answer is always that of :mod:`inspect`.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

Node = ast.ClassDef | ast.FunctionDef
_PLAIN = ("int", "float", "str", "Path", "UserPath", "None")


@dataclass(frozen=True)
class Option:
    """An option: a constructor's parameter that has a default.

    Attributes:
        default: Its default.
        choices: Its values where they are few, as text; empty otherwise.
    """

    default: Any
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Declaration:
    """What a class or function declares.

    Attributes:
        summary: First line of its docstring.
        options: Its options by name, in order.
    """

    summary: str
    options: dict[str, Option]


class _UnclearError(Exception):
    """The source does not say it; only an import can."""


@cache
def declaration(target: str) -> Declaration:
    """Return what ``"module:object"`` declares.

    Raises:
        Exception: whatever importing it raises, where its source is not enough.
    """
    module, _, name = target.partition(":")
    try:
        source = _Source.of(module)
        node = source.definition(name)
        return Declaration(_summary(ast.get_docstring(node)), source.options(node))
    except _UnclearError:
        return imported_declaration(module, name)


def choices_of(annotation: Any) -> tuple[str, ...]:
    """Return the values of a literal or boolean annotation, as they are written on a command line."""
    if annotation is bool:
        return ("true", "false")
    if get_origin(annotation) is Literal:
        return tuple(str(value) for value in get_args(annotation))
    return tuple(choice for part in get_args(annotation) for choice in choices_of(part))


def imported_declaration(module: str, name: str) -> Declaration:
    """Return what :mod:`inspect` says of an object, which is imported for it."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    function = found.__init__ if inspect.isclass(found) else found
    hints = get_type_hints(function, include_extras=True)
    options = {
        parameter.name: Option(parameter.default, choices_of(hints.get(parameter.name)))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is not inspect.Parameter.empty
    }
    return Declaration(_summary(found.__doc__), options)


def _summary(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


class _Source:
    """One module's source: its definitions, and the constants and types that annotations and defaults use."""

    def __init__(self, tree: ast.Module) -> None:
        self._defined: dict[str, ast.stmt] = {}
        for statement in tree.body:
            for name in _names_defined(statement):
                self._defined[name] = statement

    @staticmethod
    @cache
    def of(module: str) -> "_Source":
        try:
            spec = find_spec(module)
            origin = spec.origin if spec else None
            return _Source(ast.parse(Path(origin or "").read_text(encoding="utf-8")))
        except (ImportError, OSError, ValueError, SyntaxError) as error:
            raise _UnclearError from error

    def definition(self, name: str) -> Node:
        found = self._defined.get(name)
        if isinstance(found, ast.ImportFrom):
            return self._elsewhere(found).definition(name)
        if isinstance(found, ast.ClassDef | ast.FunctionDef) and not found.decorator_list:
            return found
        raise _UnclearError

    def options(self, node: Node) -> dict[str, Option]:
        """Return the options of a function, or of a class that has a constructor of its own."""
        function = _constructor(node) if isinstance(node, ast.ClassDef) else node
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        with_default = [
            *zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True),
            *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
        ]
        return {
            argument.arg: Option(self.value(default), tuple(self.choices(argument.annotation)))
            for argument, default in with_default
            if default is not None
        }

    def value(self, node: ast.expr) -> Any:
        """Return a default: a literal, or the name of one."""
        if isinstance(node, ast.Name):
            found = self._defined.get(node.id)
            if isinstance(found, ast.ImportFrom):
                return self._elsewhere(found).value(node)
            return self.value(_assigned(found))
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise _UnclearError from None

    def choices(self, node: ast.expr | None) -> Iterator[str]:
        """Yield the values of ``Literal`` and ``bool`` in an annotation."""
        if isinstance(node, ast.Constant) and node.value in (None, ...):
            return
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield from self.choices(node.left)
            yield from self.choices(node.right)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if node.value.id == "Literal":
                yield from (str(self.value(item)) for item in inner)
            elif node.value.id == "Annotated":
                yield from self.choices(inner[0])
            else:
                for item in inner:
                    yield from self.choices(item)
        elif isinstance(node, ast.Name):
            yield from self._choices_of_name(node)
        else:
            raise _UnclearError

    def _choices_of_name(self, node: ast.Name) -> Iterator[str]:
        if node.id == "bool":
            yield from ("true", "false")
            return
        found = self._defined.get(node.id)
        if found is None and node.id in _PLAIN:
            return
        if isinstance(found, ast.ImportFrom):
            if found.module and not found.module.startswith("seqsuite"):
                if node.id in _PLAIN:
                    return
                raise _UnclearError
            yield from self._elsewhere(found).choices(node)
        elif node.id not in _PLAIN:
            yield from self.choices(_assigned(found))

    def _elsewhere(self, statement: ast.ImportFrom) -> "_Source":
        if statement.level or not statement.module or any(alias.asname for alias in statement.names):
            raise _UnclearError
        return _Source.of(statement.module)


def _names_defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def _assigned(statement: ast.stmt | None) -> ast.expr:
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return statement.value
    raise _UnclearError


def _constructor(node: ast.ClassDef) -> ast.FunctionDef:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            if statement.decorator_list or statement.args.vararg or statement.args.kwarg:
                break
            return statement
    raise _UnclearError
