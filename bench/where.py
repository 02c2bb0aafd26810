"""Where an exception came from, in one line."""

from __future__ import annotations

import traceback
from pathlib import Path


def where(error: BaseException, path: Path) -> str:
    """``file:line: kind: message`` of the innermost frame in the file at ``path``, else of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path] or frames[-1:]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""
    return f"{place}{type(error).__name__}: {' '.join(str(error).split())[:300]}"
