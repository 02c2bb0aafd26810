"""``bench new row``."""

from __future__ import annotations

from bench.cli.template import write_row
from bench.here import shown


def row(name: str) -> None:
    """Write the template of a row, which passes once its model is filled in.

    An example:
      python -m bench new row torch/mine     (then fill in impls/torch/mine.py)

    Parameters
    ----------
    name
        Framework and variant, such as torch/mine; a framework that has no folder yet gets one.
    """
    print(shown(write_row(name)))
