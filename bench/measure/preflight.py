"""Looks at a person's own row file before a run: ``python -m bench.measure.preflight FILE DEVICE SHAPES BLOCKED…``.

The file is run, and so in a process of its own. That prints one line, what is wrong or that the file fits; its trace
goes to standard error.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.machine.interpreters import OWN
from bench.measure.errors import where
from bench.measure.worker import block
from bench.measure.worker_client import blocked, exit_code
from bench.measure.worker_environment import environment_of, worker_environment
from impls import build_row, load_line, parse, read_row
from impls.contract import DeviceUnavailable, Implementation, InvalidInput, Seq2seqConfig, initial_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.machine.interpreters import Interpreter
    from impls import Row
    from impls.contract import Device, Parameters

PREFLIGHT_LIMIT_S = 120.0
FITS = "fits"
"""What the child prints of a file that meets the contract: exit code 0 alone is what sys.exit() gives as well."""

METHODS = [name for name in vars(Implementation) if not name.startswith("_")]
"""What ``load`` has to give an object with."""


def preflight(
    row: Row, device: Device, mark: str, shapes: Iterable[Seq2seqConfig], interpreter: Interpreter = OWN
) -> None:
    """Try a person's own file in a process of its own, which bears the run's mark.

    ``shapes``: those of the run. The file has to take one of them, and the smallest that it does take is looked at.

    Raises:
        InvalidInput: it does not meet the contract; the message has the line, and where the full trace is.
    """
    known = blocked(row, interpreter)
    smallest_first = sorted(dict.fromkeys(shapes), key=lambda one: sum(map(math.prod, one.parameter_shapes.values())))
    shapes_json = msgspec.json.encode(smallest_first).decode()
    with (
        tempfile.NamedTemporaryFile("wb", prefix="bench-", suffix=".log", delete=False) as log,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed,  # a stray holds a pipe open
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as cache,  # a stray may write there
    ):
        environment = worker_environment(
            os.environ, threads=1, device=device, cache=Path(cache), mark=mark, extra=environment_of(row)
        )
        command = [interpreter.path, "-m", "bench.measure.preflight", str(row.path), device, shapes_json, *known]
        code = exit_code(command, environment, PREFLIGHT_LIMIT_S, stdout=printed, stderr=log)
        printed.seek(0)
        why = printed.read().strip().rpartition("\n")[2] or f"{row.path.name}: ended Python with exit code {code}"
        if code is None:
            why = f"{row.path.name}: load did not return within {PREFLIGHT_LIMIT_S:.0f} s"
    trace, fits = Path(log.name), code == 0 and why == FITS
    has_trace = not fits and trace.stat().st_size > 0
    if not has_trace:
        trace.unlink()
    if not fits:
        raise InvalidInput(f"--impl {row.path.name}: {why}" + f"; full trace: {trace}" * has_trace)


def fault(path: Path, device: str, shapes: Sequence[Seq2seqConfig], blocked: Sequence[str] = ()) -> str | None:
    """What keeps the file from meeting the contract at the first of the shapes that it takes, with its line, or None.

    One that takes none of them, as its ``NotImplementedError`` says each time, does not meet it.
    """
    try:
        given = _load(build_row(read_row(path)), shapes, device)
    except InvalidInput as error:
        return str(error)
    except DeviceUnavailable:
        return None  # a row of the table says so
    except BaseException as error:  # sys.exit() in the file is a fault too
        traceback.print_exc()
        return where(error, path, blocked)
    if missing := [name for name in METHODS if not callable(getattr(given, name, None))]:
        line = load_line(parse(path))
        return f"{path.name}:{line}: load gives a {type(given).__name__} without {missing[0]}()"
    return None


def _load(
    build: Callable[[Seq2seqConfig, Parameters, str], Implementation], shapes: Sequence[Seq2seqConfig], device: str
) -> Implementation:
    for shape in shapes[:-1]:
        with suppress(NotImplementedError):
            return build(shape, initial_parameters(shape, 0), device)
    return build(shapes[-1], initial_parameters(shapes[-1], 0), device)


def main(path: str, device: str, shapes: str, *blocked: str) -> int:
    """Print the fault, if there is one."""
    block(blocked)
    found = fault(Path(path), device, msgspec.json.decode(shapes, type=list[Seq2seqConfig]), blocked)
    print(found or FITS)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
