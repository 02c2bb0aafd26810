"""Drawing pages at the end of a command: whatever goes wrong then, what was measured is there and has been shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.here import command, shown
from bench.measure.errors import where
from bench.page import DRAW, REPORT_FILE
from impls import HERE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console


def draw(folder: Path, console: Console, write: Callable[[], None]) -> None:
    """Write a page into the folder, if that can be done, and say where it is, or why not."""
    try:
        with console.status("draws the page"):
            write()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of what draws, which is no Python, is no Exception
        again = command("page", shown(folder))
        if isinstance(error, ModuleNotFoundError) and error.name in DRAW:
            console.print(f"no page was drawn: that needs altair and vl-convert-python; where they are, by: {again}")
        else:
            why = (isinstance(error, OSError) and error.strerror) or where(error, HERE)
            console.print(f"{shown(folder)}: its page cannot be made ({why}); to try again: {again}")
    else:
        console.print(f"page: {shown(folder)}/{REPORT_FILE}")
