"""MLflow's application as ``seqsuite ui`` serves it: with a first page that leads to the table of results.

MLflow finds it by its entry point in the group ``mlflow.app``.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mlflow.server.fastapi_app import app as mlflow_app

from seqsuite.results.server import APP

FIRST_PAGE = f"/{APP}"
"""Path of the page; what it should lead to stands behind ``#``, as in MLflow's own addresses."""

_SEEN = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
"""Where a browser keeps that MLflow's assistant has opened once, over a quarter of the table."""

_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>seqsuite</title></head>
<body>
<noscript>MLflow's pages need JavaScript.</noscript>
<script>
try {{ localStorage.setItem("{_SEEN}", "true"); }} catch (refused) {{ /* private windows: it opens once */ }}
location.replace("./" + location.hash);
</script>
</body>
</html>
"""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class WithFirstPage:
    """MLflow's application, an ASGI 3 application, with one page more.

    It has no data and leads on to its own origin only, so that MLflow's checks of hosts need not see it. A
    class, since MLflow would call a function to make the application.
    """

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["path"] != FIRST_PAGE:
            await mlflow_app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _PAGE.encode()})


app = WithFirstPage()
