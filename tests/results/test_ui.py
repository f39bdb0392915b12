import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import Store
from seqsuite.results import ui

Record = Callable[..., str]

LAUNCH = """
import signal, sys
from seqsuite.results.ui import launch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if the tests run in a shell's background
launch(int(sys.argv[1]), False, experiment=sys.argv[2], say=lambda line: print(line, flush=True))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def server(store: Store, record: Record) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The launched user interface, and the link it shows."""
    record("mamba", 1.8765)
    command = [sys.executable, "-c", LAUNCH, str(free_port()), store.experiment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("Results: http://127.0.0.1:"), first + process.stdout.read()
        yield process, first.split()[1]
        process.send_signal(signal.SIGTERM)
        process.wait()


def test_a_port_in_use_is_reported(store: Store, record: Record) -> None:
    record("mamba", 1.9)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is in use"):
            ui.launch(port, False, experiment=store.experiment)


def test_without_results_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match="no results yet"):
        ui.launch(free_port(), False)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_stops_the_server(server: tuple[subprocess.Popen[str], str]) -> None:
    process, link = server
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert output.splitlines()[-1] == "Stopped."
    assert process.returncode == 0
    port = int(link.split(":")[2].partition("/")[0])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_the_link_opens_on_the_table_of_results(
    server: tuple[subprocess.Popen[str], str], store: Store, tmp_path: Path
) -> None:
    """MLflow's saved views are undocumented, so the page itself is looked at."""
    browser = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
    if browser is None:
        pytest.skip("needs Chromium or Chrome to look at MLflow's page")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    options += ["--window-size=1600,900", "--virtual-time-budget=25000", "--dump-dom"]
    page = subprocess.run([browser, *options, server[1]], capture_output=True, text=True, env=os.environ)
    assert "test/bits_per_base" in page.stdout
    assert "1.8765" in page.stdout
    assert "dna-mamba-cpu-seed0" in page.stdout
