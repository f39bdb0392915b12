"""What a file that somebody else wrote can do, and who can reach what is served."""

import ast
from pathlib import Path

import pytest

import seqsuite
from seqsuite.errors import UserError
from seqsuite.experiments.config.resolve import resolve
from seqsuite.experiments.tracking.events import EVENTS, read_events
from seqsuite.results.server import HOST

MODULES = sorted(Path(seqsuite.__file__).parent.rglob("*.py"))
CODE = {"pickle.load", "pickle.loads", "marshal.loads", "joblib.load", "dill.load", "eval", "exec"}


def calls(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return each call's function and keyword arguments."""
    found = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
    ]
    return [
        (ast.unparse(call.func), {word.arg or "": ast.unparse(word.value) for word in call.keywords})
        for call in found
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_file_is_read_that_could_hold_code(path: Path) -> None:
    """Tensors come from safetensors or ``weights_only``; what is pickled goes between own processes only."""
    assert "FileSystemReader" not in path.read_text(encoding="utf-8")  # DCP's own metadata is a pickle
    for function, words in calls(path):
        assert function not in CODE, function
        if function == "torch.load":
            assert words.get("weights_only") == "True"
        if function in ("np.load", "numpy.load"):
            assert words.get("allow_pickle", "False") == "False"
        if function == "yaml.load":
            assert "class _AnyTag(yaml.SafeLoader)" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("outside", ["../secret", "/etc/passwd", "best/../../secret", ".."])
@pytest.mark.parametrize(
    "event",
    [
        '{"time": 1, "event": "artifact", "path": "%s", "folder": null}',
        '{"time": 1, "event": "artifact", "path": "curve.png", "folder": "%s"}',
        '{"time": 1, "event": "model", "folder": "%s", "name": "m", "params": {}}',
    ],
)
def test_a_journal_names_nothing_outside_its_folder(tmp_path: Path, event: str, outside: str) -> None:
    (tmp_path / EVENTS).write_text(event % outside + "\n")
    with pytest.raises(UserError, match="is damaged"):
        list(read_events(tmp_path / EVENTS))


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "/root"])
def test_a_run_s_name_is_a_file_s(name: str) -> None:
    with pytest.raises(UserError, match=r"run\.name"):
        resolve({"task": "selective_copying", "run.name": name})


def test_what_is_served_is_for_this_machine() -> None:
    assert HOST == "127.0.0.1"
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert "0.0.0.0" not in text, path
        if "ray.init(" in text:
            assert 'os.environ["RAY_AUTH_MODE"] = "token"' in text
            assert (
                'os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"' in text
            )  # else it listens everywhere
        if "is_master=True" in text:
            assert "master_listen_fd=" in text  # likewise
