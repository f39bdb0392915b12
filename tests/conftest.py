"""What all tests share: how properties are tried, and a working folder with an MLflow store, made once."""

import gc
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

from seqsuite.cli import main

# No property depends on how fast a machine is, nor on what else runs on it.
settings.register_profile("seqsuite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("seqsuite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--order-seed", help="Run the tests in an order drawn by this seed.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where time allows for some of the tests only, these are others each time."""
    seed = config.getoption("order_seed")
    if seed is not None:
        random.Random(seed).shuffle(items)


def pytest_collection_finish() -> None:
    """What is imported stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are called by their argument: packed ones may hold the time, and processes agree on names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def seqsuite(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in the shared folder, in this process."""
    monkeypatch.chdir(shared_folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments: str) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, arguments)

    return run
