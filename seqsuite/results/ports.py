"""On which port MLflow's pages are served: a free one, which browsers open."""

import socket
from contextlib import suppress

from seqsuite.errors import UserError
from seqsuite.results.server import HOST

_PORTS = 20  # to try, from the one asked for
_BLOCKED = frozenset(
    {1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104}
    | {109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514}
    | {515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723}
    | {2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)
"""The bad ports of https://fetch.spec.whatwg.org/#port-blocking: browsers refuse to open pages there."""
_CHOOSE = "choose another, as in `seqsuite ui --port 6001`."


def free_port(wanted: int) -> int:
    """Return the first free port from ``wanted`` on that browsers open.

    Raises:
        UserError: if browsers refuse the wanted one, or all that are tried are in use.
    """
    if wanted in _BLOCKED:
        raise UserError(f"Browsers open no pages on port {wanted}, which is another service's: {_CHOOSE}")
    last = min(wanted + _PORTS - 1, 65535)
    for port in range(wanted, last + 1):
        if port in _BLOCKED:
            continue
        with socket.socket() as probe, suppress(OSError):
            # As the server does: a port that a server has just left is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port
    raise UserError(f"The ports {wanted} to {last} are in use: {_CHOOSE}")
