"""On which port the user interface is served."""

import pytest

from seqsuite.errors import UserError
from seqsuite.results.ports import free_port

from .sockets import Sockets


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    found = Sockets()
    monkeypatch.setattr("socket.socket", found)
    return found


@pytest.mark.parametrize(("port", "last"), [(5000, 5019), (65_530, 65_535), (65_516, 65_535)])
def test_where_all_ports_are_in_use_another_is_asked_for(sockets: Sockets, port: int, last: int) -> None:
    sockets.used = range(70_000)
    with pytest.raises(UserError) as caught:
        free_port(port)
    assert str(caught.value) == (
        f"The ports {port} to {last} are in use: choose another, as in `seqsuite ui --port 6001`."
    )
    assert sockets.tried == list(range(port, last + 1))


def test_ports_on_which_browsers_open_nothing_are_passed_over(sockets: Sockets) -> None:
    sockets.used = {5059}
    assert free_port(5059) == 5062
    sockets.used = {6664}
    assert free_port(6664) == 6670
    assert sockets.tried == [5059, 5062, 6664, 6670]


@pytest.mark.parametrize("port", [5060, 5061, 6000, 6566, 6665, 6669])
def test_a_port_on_which_browsers_open_nothing_is_refused(sockets: Sockets, port: int) -> None:
    with pytest.raises(UserError) as caught:
        free_port(port)
    assert str(caught.value) == (
        f"Browsers open no pages on port {port}, which is another service's: choose another, as in "
        "`seqsuite ui --port 6001`."
    )
    assert sockets.tried == []
