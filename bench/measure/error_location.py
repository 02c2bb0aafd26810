"""Where an exception came from, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MOST = 300
"""Letters of what an exception says that are shown."""


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
