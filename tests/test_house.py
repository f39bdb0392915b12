"""The rules of the house that no linter knows: who imports whom, how light that is, how tests are called."""

import ast
import gzip
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import seqsuite

PACKAGE = Path(seqsuite.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LEAVES = {
    "errors",
    "registry",
    "options",
    "allocator",
    "declarations",
    "devices",
    "report",
    "graphs",
    "wording",
}
MAY_IMPORT = {
    "wording": set(),
    "errors": set(),
    "allocator": set(),
    "devices": {"errors", "wording"},
    "graphs": set(),
    "declarations": set(),
    "registry": {"errors", "declarations"},
    "report": {"errors"},
    "options": {"errors", "registry"},
    "kernels": {"errors"},
    "bench": LEAVES | {"kernels", "models", "tasks", "experiments"},
    "tasks": LEAVES,
    "models": LEAVES | {"kernels"},
    "experiments": LEAVES | {"tasks", "models"},
    "results": LEAVES | {"experiments"},
    "completion": LEAVES | {"tasks", "models", "experiments"},
    "api": LEAVES | {"kernels", "tasks", "models", "experiments", "results"},
    "commands": LEAVES
    | {"bench", "completion", "kernels", "tasks", "models", "experiments", "results", "api"},
    "cli": {"errors", "report", "cli_options", "cli_results", "cli_runs"}
    | {"commands", "completion", "results"},
    "cli_options": {"errors", "report"},
    "cli_results": {"cli_options", "commands", "errors"},
    "cli_runs": {"commands", "completion"},
    "__main__": {"cli"},
}
"""Arrows point down only. Each part may import itself, and of the others those named here."""


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Return what a file imports anywhere: modules, and what comes from one behind that one's name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(names)


def imported_parts(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in imported_names(path) if name.startswith("seqsuite.")}
    return parts - {part_of(path), "__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert imported_parts(path) == {"api", "results"}  # for type checkers, and when first used
    else:
        assert imported_parts(path) <= MAY_IMPORT[part_of(path)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_read_at_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import seqsuite", {"torch", "mlflow", "numpy", "click", "pydantic", "triton"}),
        ("import seqsuite.cli", {"torch", "mlflow", "numpy", "pydantic", "rich"}),
        ("import seqsuite.experiments.config.resolve", {"torch", "mlflow"}),
        ("import seqsuite.commands.results", {"torch", "mlflow", "matplotlib", "pandas"}),
        ("from seqsuite.commands.names import show_names; show_names()", {"torch", "mlflow", "numpy"}),
        (
            "import sys; sys.modules['triton'] = None\nimport seqsuite.kernels, seqsuite.models.build",
            {"mlflow", "torchaudio", "llvmlite"},
        ),
    ],
)
def test_imports_stay_light(code: str, heavy: set[str]) -> None:
    """`seqsuite --help` answers at once because nothing heavy is imported before a command needs it."""
    show = f"{code}\nimport sys\nprint(*sorted({heavy!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1:] in ([], [""])


def test_no_two_files_import_each_other() -> None:
    """Neither at the top nor inside functions, where a circle only hides."""
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES]
    files = {name.removesuffix(".__init__"): path for name, path in zip(names, MODULES, strict=True)}
    imports = {
        file: {name if name in files else name.rpartition(".")[0] for name in imported_names(path)}
        for file, path in files.items()
    }
    pairs = [
        (one, other)
        for one in files
        for other in imports[one]
        if one < other and one in imports.get(other, ())
    ]
    assert pairs == []


TESTS = sorted(Path(__file__).parent.rglob("*.py"))
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
"""Public by their documentation."""


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_tests_reach_for_nothing_private(path: Path) -> None:
    """Neither import it, nor take it as an attribute of what is imported, nor put another in its place."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours: set[str] = set()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seqsuite"):
            ours |= {alias.asname or alias.name for alias in node.names}
            found += [alias.name for alias in node.names if is_private(alias.name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and root_of(node) in {"seqsuite", *ours}:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "monkeypatch.setattr":
            target = node.args[0]
            named = [name.value for name in node.args if isinstance(name, ast.Constant)]
            if root_of(target) in ours or isinstance(target, ast.Constant):
                found += [name for name in named[:1] if is_private(str(name).rpartition(".")[2])]
    assert found == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in OF_NAMED_TUPLES


def root_of(node: ast.expr) -> str:
    """Return the name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("content", [gzip.compress(b"")])
def test_a_test_is_called_the_same_in_all_processes(content: bytes, request: pytest.FixtureRequest) -> None:
    assert request.node.name == "test_a_test_is_called_the_same_in_all_processes[content]"
