import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking import schema
from seqsuite.experiments.tracking.store import Store
from seqsuite.results import ui
from seqsuite.results.run_notes import columns, description

Record = Callable[..., str]

LAUNCH = """
import signal, sys
from seqsuite.results.ui import launch
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if the tests run in a shell's background
launch(int(sys.argv[1]), False, experiment=sys.argv[2], say=lambda line: print(line, flush=True))
"""


IN_SIGHT = """cells => {
    const edge = document.querySelector(".ag-center-cols-viewport").getBoundingClientRect().right;
    const seen = cell => {
        const range = document.createRange();
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        let right = 0;
        while (texts.nextNode()) {
            range.selectNodeContents(texts.currentNode);
            right = Math.max(right, range.getBoundingClientRect().right);
        }
        const end = Math.min(edge, cell.getBoundingClientRect().right) + 0.5;
        return right <= end ? cell.innerText : `${cell.innerText} (cut)`;
    };
    const left = cell => cell.getBoundingClientRect().left;
    return cells.toSorted((one, other) => left(one) - left(other)).map(seen);
}"""
"""What cells say from left to right, and of which a part is out of sight."""
UNSELECTIVE = {"name": "s6", "dt_rank": None, "selective_B": False, "selective_C": False}


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
            told, shown = process.stdout.readline(), process.stdout.readline()
            assert shown.startswith("Results: http://127.0.0.1:"), told + shown + process.stdout.read()
            link = shown.split()[1]
            assert port < port_of(link) < port + 20
            assert told == f"Port {port} is in use: the pages are on port {port_of(link)}.\n"
            yield process, link
            process.send_signal(signal.SIGTERM)
            process.wait()


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[[str, int], Any]]:
    """Open a page at a width; at the end none has had an error, but for what MLflow has not."""
    errors: list[str] = []
    contexts = []

    def opened(address: str, width: int) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and errors.append(place_of(message)))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert set(errors) <= {"404 /ajax-api/2.0/mlflow/users/current"}


def place_of(message: Any) -> str:
    """Return what a message on the console is: of a request that failed, its status and path."""
    status = re.search(r"status of (\d+)", message.text)
    return f"{status[1]} {urlsplit(message.location['url']).path}" if status else message.text


def columns_of(page: Any) -> list[str]:
    return page.locator(".ag-header-viewport .ag-header-cell").evaluate_all(IN_SIGHT)


def rows_of(page: Any) -> list[list[str]]:
    """Return what is read in the table's rows, right of the runs' names."""
    rows = page.locator(".ag-center-cols-container .ag-row")
    found = {
        int(row.get_attribute("row-index")): row.locator(".ag-cell").evaluate_all(IN_SIGHT)
        for row in rows.all()
    }
    return [found[index] for index in sorted(found)]


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


@pytest.mark.browser
def test_the_pages_show_what_matters_in_a_browser(
    server: tuple[subprocess.Popen[str], str],
    store: Store,
    record: Record,
    look: Callable[[str, int], Any],
    tmp_path: Path,
) -> None:
    """MLflow's saved views are undocumented, so the pages themselves are looked at."""
    options = {f"model.mixer.{key}": value for key, value in UNSELECTIVE.items()}
    run_id = record("mamba", 1.9432, seed=1, options=options)
    cell = store.get(run_id)
    store.log_batch(run_id, tags=columns(cell) | {schema.TAG_NOTE: description(cell)})
    sample = tmp_path / "sample.fasta.txt"
    sample.write_text(">sample\nACGTTGCA\n")
    store.artifact(run_id, sample)
    store.finish(store.start_benchmark("scan", {"command": "seqsuite bench scan"}, "| a | b |"), "FINISHED")
    store.finish(store.start_grid("grid of 2 cells", {}), "FINISHED")

    page = look(server[1], 1800)
    page.wait_for_selector("text=1.877 bits")
    assert columns_of(page)[:8] == [
        "task.name",
        "model",
        "size",
        "seed",
        "score",
        "tokens/s",
        "scale",
        "Duration",
    ]
    first = ["dna", "mamba", "123 k", "0", "1.877 bits", "2.50 k", "cpu"]
    whole = "mamba + dt_rank=none selective_B=false selective_C=false"
    second = ["dna", whole, "123 k", "1", "1.943 bits", "2.50 k", "cpu"]
    rows = rows_of(page)
    assert [row[:7] for row in rows[:2]] == [first, second]
    assert len(rows) == 3  # of the grid there is none, of the benchmark its command
    assert rows[2][-1] == "seqsuite bench scan"
    assert page.get_by_text("assistant", exact=False).count() == 1  # a button, and no pane over the table

    page = look(server[1], 1280)
    page.wait_for_selector("text=1.877 bits")
    assert [row[:6] for row in rows_of(page)[:2]] == [first[:6], second[:6]]

    runs = f"{server[1].partition('runs?')[0]}runs/{run_id}"
    page = look(runs, 360)
    page.wait_for_selector("text=Best validation bits per base")
    assert page.get_by_text("1.943 bits").first.is_visible()
    page = look(f"{runs}/artifacts/{sample.name}", 1280)
    page.wait_for_selector("text=ACGTTGCA")
