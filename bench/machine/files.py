"""Reads the small texts in which Linux describes itself. What is not there is ``None``, never an error."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def read(path: Path) -> str | None:
    """What the file holds, without the space around it; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def there(path: Path) -> bool:
    """Whether there is such a file or folder."""
    try:
        return path.exists()
    except (OSError, ValueError):  # it may not be looked at, or cannot be a path
        return False


def match(pattern: str, text: str | None) -> str | None:
    """The first group of the pattern where it is first found; None where it is not."""
    found = re.search(pattern, text or "", flags=re.MULTILINE)
    return found[1] if found else None


def number(text: str | None) -> float | None:
    """The finite number that a text stands for; None where it stands for none."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def words(paths: Iterable[Path]) -> str | None:
    """The different words that the files hold; one that is no plain word is ``other``."""
    held = {read(path) for path in paths} - {None, ""}
    plain = {word if re.fullmatch(r"[a-z0-9_-]{1,32}", word or "") else "other" for word in held}
    return ", ".join(sorted(filter(None, plain))) or None


def members(text: str | None) -> set[int] | None:
    """The members of a list such as ``0-3,8``."""
    if text is None or not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        return None
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return {member for end in ends for member in range(end[0], end[-1] + 1)}
