"""No password or token is shown, whatever shape the store's address has."""

from pathlib import Path

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.tracking.addresses import public_uri, shown_uri, without_secrets
from seqsuite.experiments.tracking.connection import store_errors
from seqsuite.experiments.tracking.store import open_store

SECRET = "S3cr3t"

SHAPES = {
    "user and password": f"http://me:{SECRET}@127.0.0.1:9",
    "token only": f"http://{SECRET}@127.0.0.1:9",
    "token as user": f"http://{SECRET}:@127.0.0.1:9",
    "no user": f"http://:{SECRET}@127.0.0.1:9",
    "an @ in the password": f"http://me:{SECRET}@{SECRET}@127.0.0.1:9",
    "a slash in the password": f"http://me:{SECRET}/{SECRET}@127.0.0.1:9",
    "a question mark in the password": f"http://me:{SECRET}?{SECRET}@127.0.0.1:9",
    "a hash in the password": f"http://me:{SECRET}#{SECRET}@127.0.0.1:9",
    "a colon in the password": f"http://me:{SECRET}:{SECRET}@127.0.0.1:9",
    "in the query": f"http://127.0.0.1:9/?password={SECRET}",
    "an @ in the query": f"http://127.0.0.1:9/?password={SECRET}@{SECRET}",
    "a bad port": f"http://me:{SECRET}@127.0.0.1:port",
    "a port too large": f"http://me:{SECRET}@127.0.0.1:99999",
    "no host": f"http://me:{SECRET}@",
    "a bad IPv6 host": f"http://me:{SECRET}@[::1",
    "database": f"postgresql://me:{SECRET}@127.0.0.1:9/db",
    "database, in the query": f"postgresql://127.0.0.1:9/db?user=me&password={SECRET}",
    "database, a bad port": f"postgresql://me:{SECRET}@127.0.0.1:port/db",
    "database, an unknown driver": f"mysql+none://me:{SECRET}@127.0.0.1:9/db",
    "an unknown scheme": f"nonsense://me:{SECRET}@there/db",
    "no scheme": f"me:{SECRET}@there",
    "databricks": f"databricks://me:{SECRET}@there",
    "databricks, token": f"databricks://{SECRET}@there",
    "SQLite": f"sqlite:////proc/none/mlflow.db?key={SECRET}",
    "SQLite without a file": f"sqlite://?key={SECRET}",
}


@pytest.mark.parametrize("uri", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("create", [True, False], ids=["write", "read"])
def test_an_address_that_fails_is_shown_without_its_secret(
    uri: str, create: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as caught:
        open_store(create=create)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err


@pytest.mark.parametrize("uri", SHAPES.values(), ids=SHAPES.keys())
def test_no_shape_shows_its_secret(uri: str) -> None:
    assert SECRET not in shown_uri(uri)
    assert SECRET not in public_uri(uri)
    assert SECRET not in without_secrets(f"cannot open {uri!r}, nor '{SECRET}'", uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://host:5000/sub", "http://host:5000/sub"),
        ("http://me:x@host:5000/sub", "http://…@host:5000/sub"),
        ("postgresql://host/db?user=me&password=x", "postgresql://host/db?user=…&password=…"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_the_rest_of_an_address_is_shown(uri: str, shown: str) -> None:
    assert shown_uri(uri) == shown


def test_a_secret_is_hidden_in_each_form_it_may_be_shown_in(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "http://me:p%40ss+word@host"
    assert without_secrets("p%40ss+word, p@ss+word and p@ss word", uri) == "…, … and …"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok")
    assert (
        without_secrets("Bearer tok refused, token unknown", "http://host")
        == "Bearer … refused, token unknown"
    )


def test_a_message_is_otherwise_left_alone() -> None:
    assert without_secrets("user me has no right to http://host/x", "http://me:pw@host") == (
        "user me has no right to http://host/x"
    )


@pytest.mark.parametrize(("length", "told"), [(300, "x" * 300), (301, "x" * 299 + "…")])
def test_long_errors_of_a_store_are_cut(length: int, told: str) -> None:
    with pytest.raises(UserError) as raised, store_errors("Cannot read it"):
        raise ValueError("x" * length)
    assert str(raised.value) == f"Cannot read it: {told}"
    with pytest.raises(ZeroDivisionError), store_errors("Cannot read it"):
        raise ZeroDivisionError
    for words in ("Max retries exceeded with url", "Connection refused", "Read timed out"):
        with pytest.raises(UserError, match="Cannot read it: no server answers there"):  # noqa: SIM117
            with store_errors("Cannot read it"):
                raise OSError(words)
