"""Where commands print: wrapped to a terminal's width, and neither wrapped nor padded elsewhere."""

import sys

from rich.console import Console, RenderableType

UNBOUNDED = 10_000  # columns where there is no terminal


def make_console(*, stderr: bool = False) -> Console:
    """Return the console of standard output, or error; brackets in what it prints are no markup."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr,
        highlight=False,
        markup=False,
        width=None if terminal else UNBOUNDED,
        soft_wrap=not terminal,
    )


def show(console: Console, renderable: RenderableType) -> None:
    """Print a table or the like; off a terminal without the spaces that end its lines."""
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    for line in captured.get().splitlines():
        console.print(line.rstrip())
