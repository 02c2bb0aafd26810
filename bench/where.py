"""Where an exception came from, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path


def where(error: BaseException, path: Path) -> str:
    """``file:line: kind: message`` of the innermost frame in the file at ``path``, else of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path] or frames[-1:]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {words_of(error)}"


def words_of(error: BaseException, most: int = 300) -> str:
    """What an exception says, in one line that can be written anywhere."""
    try:
        text = str(error)
    except Exception:  # an exception is a person's own class
        text = "cannot say what is wrong"
    return " ".join(text.split())[:most].encode("utf-8", "backslashreplace").decode()
