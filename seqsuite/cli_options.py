"""Options that several commands have, with one meaning."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from seqsuite.errors import UserError
from seqsuite.report import FORMATS
from seqsuite.report.pictures import STYLES, PictureFile, Style

FORCE = click.option(
    "--force", is_flag=True, help="Start afresh, even cells that are finished or interrupted."
)
TAKEOVER = click.option(
    "--takeover", is_flag=True, help="Take cells over from a process that seems to run them."
)
RETRY_FAILED = click.option("--retry-failed", is_flag=True, help="Run only what failed or diverged before.")
FORMAT = click.option("--format", "style", type=click.Choice(FORMATS), default="table", help="Form.")


def figure_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --figure and --style to a command, which gets both as ``figure``."""

    @click.option(
        "--figure", type=click.Path(path_type=Path), help="Also draw it here: a .png, .pdf or .svg."
    )
    @click.option(
        "--style",
        "look",
        type=click.Choice(STYLES),
        help="Of the picture: `paper` has a paper's width and font.",
    )
    @functools.wraps(command)
    def with_figure(*args: Any, figure: Path | None, look: Style | None, **options: Any) -> Any:
        if figure is None and look is not None:
            raise UserError(f"--style {look} is of a picture: say by --figure where it is drawn.")
        file = None if figure is None else PictureFile(figure, look or "screen")
        return command(*args, figure=file, **options)

    return with_figure
