"""Which commands there are, and how their words are read.

A command's file is imported when the command is called, and no other: a table waits for no chart.
"""

from __future__ import annotations

from cyclopts import App, Parameter
from rich.console import Console

from bench.cli.new import row

app = App(
    name="bench",
    help="Times one seq2seq LSTM, written in several frameworks, and refuses to time what is not proven equal.",
    help_format="plaintext",
    version_flags=[],
    suppress_keyboard_interrupt=False,  # `main` says that it was interrupted
    default_parameter=Parameter(consume_multiple=1, negative=()),
)

SEVERAL = Parameter(show_default=False)
"""What takes several words says in its own what none means."""

new = App(name="new", help="Write a template.", version_flags=[])

for name in ("run", "list", "machine", "peak", "profile", "advise", "calibrate", "table", "page", "compare", "publish"):
    app.command(f"bench.cli.{name}:{name}", name=name)
app.command(new)
new.command(row)


def stdout(*, soft_wrap: bool = False) -> Console:
    """Where results go: plain text when piped."""
    return Console(highlight=False, markup=False, soft_wrap=soft_wrap)


def stderr() -> Console:
    """Where all goes that is about the work, and is no result."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
