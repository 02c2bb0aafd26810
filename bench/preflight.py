"""Looks at a person's own row file before a run, in a process: ``python -m bench.preflight FILE DEVICE BLOCKED…``.

Prints one line that says what is wrong and exits with 1, or exits with 0. The full trace goes to standard error.
"""

from __future__ import annotations

import ast
import sys
import traceback
from pathlib import Path

from bench.where import where
from bench.worker import Blocker
from impls import build_row, load_line, read_row
from impls.contract import DeviceUnavailable, Implementation, InvalidInput, Seq2seqConfig, initial_parameters

TINY = Seq2seqConfig(embedding_dim=2, hidden_dim=3, num_encoder_layers=1, num_decoder_layers=2, bidirectional=True)
METHODS = [name for name in vars(Implementation) if not name.startswith("_")]
"""What ``load`` has to give an object with."""


def fault(path: Path, device: str) -> str | None:
    """What keeps the file from meeting the contract, with its line, or None."""
    try:
        given = build_row(read_row(path))(TINY, initial_parameters(TINY, 0), device)
    except InvalidInput as error:
        return str(error)
    except DeviceUnavailable:
        return None  # a row of the table says so
    except BaseException as error:  # sys.exit() in the file is a fault too
        traceback.print_exc()
        return where(error, path)
    if missing := [name for name in METHODS if not callable(getattr(given, name, None))]:
        line = load_line(ast.parse(path.read_text(encoding="utf-8")))
        return f"{path.name}:{line}: load gives a {type(given).__name__} without {missing[0]}()"
    return None


def main(path: str, device: str, *blocked: str) -> int:
    """Print the fault, if there is one."""
    sys.meta_path.insert(0, Blocker(blocked))
    found = fault(Path(path), device)
    if found:
        print(found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
