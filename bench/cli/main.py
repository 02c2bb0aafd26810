"""``python -m bench``: which commands there are, and from their words to an exit code, whatever goes wrong on the way.

A command's file is imported when it is needed: a table waits for no chart.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from bench.here import as_typed
from bench.machine.limits import lower, too_low
from bench.page import DRAW
from impls.contract import InvalidInput

if TYPE_CHECKING:
    from types import FrameType

app = App(
    name="bench",
    help="Times one seq2seq LSTM, written in several frameworks, and refuses to time what is not proven equal.",
    help_format="plaintext",
    version_flags=[],
    suppress_keyboard_interrupt=False,  # `main` says that it was interrupted
    default_parameter=Parameter(consume_multiple=1, negative=()),
)
MEASURES = ("run", "train", "peak", "profile", "calibrate")
READS = ("list", "machine", "pronounce", "advise", "table", "page", "compare", "publish")
for name in (*MEASURES, *READS):
    app.command(f"bench.cli.{name}:{name}", name=name)
app.command("bench.cli.new:new", name="new")

SEVERAL = Parameter(show_default=False)
"""What takes several words says in its own what none means."""


def stdout(*, soft_wrap: bool = False) -> Console:
    """Where results go: plain text when piped."""
    return Console(highlight=False, markup=False, soft_wrap=soft_wrap)


def stderr() -> Console:
    """Where all goes that is about the work, and is no result."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def main() -> int:
    """Run the command line: its exit code, or 2 with one line where what was asked for makes no sense.

    1 where the output is not taken, because the reader has gone or the disk is full, and where the system refuses else.

    SIGTERM is taken as Ctrl-C is: what was measured is kept. So is SIGHUP, which comes when the terminal is closed, but
    for nohup; and SIGXCPU, which comes before SIGKILL where a process may have so much processor time and no more: to
    this one, and to those that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    most_s = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if most_s != resource.RLIM_INFINITY:
        lower(resource.RLIMIT_CPU, max(1, most_s - max(1, most_s // 10)), most_s)  # a tenth is for the last words
    _have_a_home()
    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is None:  # closed
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no such sign gets a question mark
    sys.stderr = Dispensable(sys.stderr)
    try:
        Path.cwd()
    except FileNotFoundError:
        print("bench: the current folder is gone; change to one that is there", file=sys.stderr)
        return 2
    try:
        if low := too_low():
            raise InvalidInput(low)
        if sys.argv[1:2] in ([], ["--help"], ["-h"]):
            app.resolved_commands()  # what a command does stands in its own file
        result = app(sys.argv[1:], print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except InvalidInput as error:
        message = str(error)
    except CycloptsError as error:
        message = " ".join(str(error).split())
    except ModuleNotFoundError as error:
        if error.name not in DRAW:
            raise
        message = "to draw, altair and vl-convert-python have to be installed; install them, or do this where they are"
    except KeyboardInterrupt as why:
        print(f"bench: {str(why) or 'interrupted'}", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is not None or error.errno not in OF_OUTPUT:  # output has no name
            said = f"{error.filename}: {error.strerror}" if error.filename is not None else f"{error}"
            print(f"bench: {said}", file=sys.stderr)
            return 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        if not isinstance(error, BrokenPipeError):  # the reader has read enough
            print(f"bench: standard output: cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    else:
        return result if isinstance(result, int) else 0
    print(f"bench: {as_typed(message)}", file=sys.stderr)
    return 2


OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT}
"""How a write to standard output fails; all else is another thing that the system refuses."""


def _have_a_home() -> None:
    """Let libraries go on that ask for a person's home where there is none: Altair does when it is imported."""
    try:
        Path.home()
    except RuntimeError:  # no HOME, and a user that the system does not know, as in many a container
        os.environ["HOME"] = "/nonexistent"  # a folder that others can write in would be a place for their packages


class Dispensable:
    """A stream that nothing depends on: where it cannot be written, the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        """All else is the stream's."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, if that can be done."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that can be done."""
        with suppress(OSError):
            self._stream.flush()


def _interrupt(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGXCPU:
        signal.signal(number, signal.SIG_IGN)  # it would come again each second
        raise KeyboardInterrupt("the processor time that a process may have here is used up (ulimit -t)")
    raise KeyboardInterrupt
