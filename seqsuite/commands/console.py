"""Where commands print: wrapped to a terminal's width, and neither wrapped nor padded elsewhere."""

import sys

from rich.console import Console, RenderableType

UNBOUNDED = 10_000  # columns where there is no terminal


def make_console() -> Console:
    """Return the console of standard output; brackets in what it prints are no markup."""
    terminal = sys.stdout.isatty()
    return Console(
        highlight=False, markup=False, width=None if terminal else UNBOUNDED, soft_wrap=not terminal
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
