"""What goes wrong: with a row, which status an exception stands for, and where it came from, in one line; or a disk."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records.schema import Status
from impls.contract import DeviceUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection

MOST = 300
"""Letters of what an exception says that are shown."""


class DiskFull(OSError):
    """What was measured cannot be written; the message says where."""


class Invalid(Exception):
    """The row's values are wrong; the message names the quantity."""


class Unsupported(Exception):
    """A row's ``load`` does not take the shape of a workload; the message is the row's own."""


STATUS_OF: dict[type[Exception], Status] = {
    Invalid: "invalid",
    DeviceUnavailable: "unavailable",
    Unsupported: "unsupported",
}
"""Of what a row or the validation means to raise: all else is an error."""


def verdict_on(error: BaseException, path: Path, blocked: Collection[str] = ()) -> tuple[Status, str]:
    """The status and the reason that an exception of the file at ``path`` stands for; `where` says what is `blocked`.

    What is an error is printed with its trace. Who interrupts a worker ends it: that exception goes on.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    for kind, status in STATUS_OF.items():
        if isinstance(error, kind):
            return status, words_of(error)
    traceback.print_exception(error)
    return "out_of_memory" if is_out_of_memory(error) else "error", where(error, path, blocked)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how Python, PyTorch, JAX or CuPy says that memory has run out."""
    words = words_of(error, 100_000).lower()
    signs = ("out of memory", "resource_exhausted", "can't allocate memory")
    return isinstance(error, MemoryError) or any(sign in words for sign in signs)


def where(error: BaseException, path: Path, blocked: Collection[str] = ()) -> str:
    """``file:line: kind: message`` of the innermost frame in the file at ``path``, else of the innermost frame.

    ``blocked``: what was made unimportable. Where that is what was not found, it is said.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path] or frames[-1:]
    place = _place(own[-1]) if own else ""
    said = _said(error, MOST)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in blocked:
        said = f"{error.name} is blocked: another row's framework; ROW names what a row needs"
    if said:
        return f"{place}{type(error).__name__}: {said}"
    return words_of(error) if own[-1:] == frames[-1:] else f"{place}{words_of(error)}"


def words_of(error: BaseException, most: int = MOST) -> str:
    """What an exception says, in one line that can be written anywhere; of one without words, what raised it, where."""
    if said := _said(error, most):
        return said
    words = f"{type(error).__name__} without words"
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        words = f"{_place(frame)}{words}" + f": {frame.line}" * bool(frame.line)
    return _in_a_line(words, most)


def _said(error: BaseException, most: int) -> str:
    try:
        return _in_a_line(str(error), most)
    except Exception:  # an exception is a person's own class
        return "cannot say what is wrong"


def _in_a_line(text: str, most: int) -> str:
    """Of a long text its beginning and its end: compilers say first what was to be done, and what was wrong last."""
    words, gap = " ".join(text.split()), " … "
    if len(words) > most:
        head = 2 * most // 5
        words = words[:head] + gap + words[head + len(gap) - most :]
    return words.encode("utf-8", "backslashreplace").decode()


def _place(frame: traceback.FrameSummary) -> str:
    return f"{Path(frame.filename).name}:{frame.lineno}: "
