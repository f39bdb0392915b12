import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.store import Store
from seqsuite.results import ui
from seqsuite.results.run_notes import columns

Record = Callable[..., str]

LAUNCH = """
import signal, sys
from seqsuite.results.ui import launch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if the tests run in a shell's background
launch(int(sys.argv[1]), False, experiment=sys.argv[2], say=lambda line: print(line, flush=True))
"""


@pytest.fixture
def server(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The launched user interface, and the link it shows; the port asked for is in use: it takes the next.

    The environment has settings of a server for others, with which it would not answer.
    """
    monkeypatch.setenv("MLFLOW_STATIC_PREFIX", "/elsewhere")
    monkeypatch.setenv("MLFLOW_GUNICORN_OPTS", "--timeout 5")
    run_id = record("mamba", 1.8765)
    store.log_batch(run_id, tags=columns(store.get(run_id)))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "-c", LAUNCH, str(port), store.experiment]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("Results: http://127.0.0.1:"), first + process.stdout.read()
            link = first.split()[1]
            assert port < port_of(link) < port + 20
            yield process, link
            process.send_signal(signal.SIGTERM)
            process.wait()


def port_of(link: str) -> int:
    return int(link.split(":")[2].partition("/")[0])


def answers(link: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port_of(link))) == 0


def test_a_server_elsewhere_is_linked_to_without_its_password(
    store: Store, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("mamba", 1.9)
    elsewhere = Store("https://me:secret@host:8443/sub", store.experiment_id, store.experiment, store.client)
    monkeypatch.setattr(ui, "open_store", lambda *_, **__: elsewhere)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)  # its address is on a command line
    lines: list[str] = []
    ui.launch(say=lines.append)
    assert lines == [f"Results: {opened[0]}"]
    assert opened[0].startswith("https://host:8443/sub/#/experiments/")


def test_without_results_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match="no results yet"):
        ui.launch(5000, False)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_ctrl_c_stops_the_server(server: tuple[subprocess.Popen[str], str]) -> None:
    process, link = server
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert output.splitlines()[-1] == "Stopped."
    assert process.returncode == 0
    assert not answers(link)


@pytest.mark.slow
def test_the_server_dies_with_its_launcher_and_its_command_line_names_no_store(
    server: tuple[subprocess.Popen[str], str],
) -> None:
    process, link = server
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    assert len(commands) == 1
    assert b"mlflow.db" not in commands[0]
    assert answers(link)
    process.kill()
    process.wait()
    for _ in range(600):
        if not answers(link):
            return
        time.sleep(0.1)
    raise AssertionError("the server is still there")


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
    assert "seqsuite.score" in page.stdout
    assert "1.877 bits" in page.stdout  # in the digits that matter
    assert "assistant-fab-label" in page.stdout  # MLflow's assistant is a button
    assert "assistant.chat_panel" not in page.stdout  # and not a pane over a quarter of the table
    assert "123 k" in page.stdout
    assert "dna-mamba-cpu-seed0" in page.stdout
