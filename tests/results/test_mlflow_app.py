"""The page before MLflow's own, by which its table opens whole."""

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import pytest

from seqsuite.experiments.tracking.store import Store
from seqsuite.results import server, ui

# MLflow's server uses what SQLAlchemy and Starlette have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated and will be removed")


@pytest.fixture
def application() -> ModuleType:
    from seqsuite.results import mlflow_app

    return mlflow_app


def answer(application: ModuleType, path: str) -> list[dict[str, Any]]:
    """Return what the application sends for a path."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    asyncio.run(application.app(scope, receive, send))
    return sent


def test_the_first_page_keeps_the_assistant_closed_and_leads_on(
    application: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, body = answer(application, application.FIRST_PAGE)
    assert start["status"] == 200
    text = body["body"].decode()
    assert 'localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true")' in text
    assert 'location.replace("./" + location.hash)' in text
    asked: list[str] = []

    async def mlflows_own(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])

    monkeypatch.setattr(application, "mlflow_app", mlflows_own)
    assert answer(application, "/health") == []
    assert asked == ["/health"]


def test_mlflow_still_keeps_there_that_its_assistant_has_opened() -> None:
    scripts = Path(mlflow.__file__).parent / "server/js/build/static/js"
    texts = [script.read_text(encoding="utf-8") for script in scripts.glob("main.*.js")]
    assert any('key:"mlflow.assistant.fab.autoOpenedOnFirstLoad",version:1' in text for text in texts)


def test_the_link_goes_by_the_first_page_where_there_is_one(application: ModuleType, store: Store) -> None:
    by_it = ui.link("http://127.0.0.1:5000", store, "seqsuite")
    assert by_it.startswith(f"http://127.0.0.1:5000{application.FIRST_PAGE}#/experiments/")
    assert ui.link("http://127.0.0.1:5000/", store) == by_it.replace(application.FIRST_PAGE, "/")


def test_without_the_entry_point_mlflow_is_served_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where seqsuite was updated and not installed again."""
    assert server.has_first_page()
    monkeypatch.setattr(server, "entry_points", lambda **_: [])
    assert not server.has_first_page()
