"""Looks at a person's own row file before a run: ``python -m bench.preflight FILE DEVICE``, in a process of its own.

Prints one line that says what is wrong and exits with 1, or exits with 0. The full trace goes to standard error.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from bench.where import where
from impls import build_row, read_row
from impls.contract import DeviceUnavailable, Implementation, InvalidInput, Seq2seqConfig, initial_parameters

TINY = Seq2seqConfig(embedding_dim=2, hidden_dim=3, num_encoder_layers=1, num_decoder_layers=2, bidirectional=True)
METHODS = [name for name in vars(Implementation) if not name.startswith("_")]
"""What ``load`` has to give an object with."""


def fault(path: Path, device: str) -> str | None:
    """What keeps the file from meeting the contract, with its line, or None."""
    try:
        row = read_row(path)
        given = build_row(row)(TINY, initial_parameters(TINY, 0), device)
    except InvalidInput as error:
        return str(error)
    except DeviceUnavailable:
        return None  # a row of the table says so
    except Exception as error:
        traceback.print_exc()
        return where(error, str(path))
    if missing := [name for name in METHODS if not callable(getattr(given, name, None))]:
        return f"{path.name}:{_line_of_load(path)}: load gives a {type(given).__name__} without {missing[0]}()"
    return None


def _line_of_load(path: Path) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(("def load", "load "))), 1)


def main(path: str, device: str) -> int:
    """Print the fault, if there is one."""
    found = fault(Path(path), device)
    if found:
        print(found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
