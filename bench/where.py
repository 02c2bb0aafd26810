"""Where an exception came from, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def where(error: BaseException, path: Path, blocked: Collection[str] = ()) -> str:
    """``file:line: kind: message`` of the innermost frame in the file at ``path``, else of the innermost frame.

    ``blocked``: what was made unimportable. Where that is what was not found, it is said.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path] or frames[-1:]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""
    words = words_of(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in blocked:
        words = f"{error.name} is blocked: another row's framework; ROW names what a row needs"
    return f"{place}{type(error).__name__}: {words}"


def words_of(error: BaseException, most: int = 300) -> str:
    """What an exception says, in one line that can be written anywhere: of a long one its beginning and its end.

    Compilers say first what was to be done, and what was wrong last.
    """
    try:
        text = str(error)
    except Exception:  # an exception is a person's own class
        text = "cannot say what is wrong"
    words, gap = " ".join(text.split()), " … "
    if len(words) > most:
        head = 2 * most // 5
        words = words[:head] + gap + words[head + len(gap) - most :]
    return words.encode("utf-8", "backslashreplace").decode()
