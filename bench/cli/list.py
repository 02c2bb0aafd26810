"""``bench list``."""

from __future__ import annotations

from bench.cli.app import stdout
from bench.cli.listing import listing


def list() -> None:  # noqa: A001
    """Show the rows and workloads, and why something is unavailable. Imports no framework.

    An example:
      python -m bench list
    """
    stdout(soft_wrap=True).print(*listing(), sep="\n")
