"""Stand-ins for the sockets of a machine some of whose ports are in use."""

import socket
from collections.abc import Container


class Sockets:
    """Those of a machine some of whose ports are in use."""

    def __init__(self) -> None:
        self.used: Container[int] = ()
        self.tried: list[int] = []

    def __call__(self) -> "Sockets":
        return self

    def __enter__(self) -> "Sockets":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setsockopt(self, *option: int) -> None:
        assert option == (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def bind(self, address: tuple[str, int]) -> None:
        self.tried.append(address[1])
        if address[1] in self.used:
            raise OSError
